"""Sample service that calls an upstream, run as a process by the tests."""
