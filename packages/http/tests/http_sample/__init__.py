"""Sample service with only the HTTP edge, run as a process by the tests."""
