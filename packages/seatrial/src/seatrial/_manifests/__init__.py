"""Reader of Kubernetes manifests and compose files."""
