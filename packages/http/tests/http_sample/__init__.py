"""A service with an edge and nothing else, which the tests run as a process."""
