"""Releases: one version for all packages, the changelog from fragments, what is released frozen."""
