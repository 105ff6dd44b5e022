"""CPU time of rate limits in Redis and in process memory."""
