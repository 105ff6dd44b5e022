"""Values as text: secrets and credentials are masked."""
