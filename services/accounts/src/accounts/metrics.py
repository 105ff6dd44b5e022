"""What accounts counts of its own."""

from starkeel_observability import counter

USERS_CREATED = counter("users_created_total", "Users that signed up.")
TOKENS_ISSUED = counter("tokens_issued_total", "Answers to a request for a token.", labels=("result",))
