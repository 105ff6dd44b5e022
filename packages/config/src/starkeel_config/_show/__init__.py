"""Display of values: secrets and credentials are masked."""
