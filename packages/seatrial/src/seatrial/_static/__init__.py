"""Parts that rows about images and manifests share: typed fields, secrets, findings."""
