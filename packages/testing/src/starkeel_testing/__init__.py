"""pytest plugin: real service processes, real PostgreSQL, Redis and OTLP receiver."""
