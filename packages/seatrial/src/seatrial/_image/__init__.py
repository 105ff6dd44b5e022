"""Reader of container images: archives, layouts and the Docker daemon, without unpacking to disk."""
