"""The contender that is ours: a service with everything on."""
