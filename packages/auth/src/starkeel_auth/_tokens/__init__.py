"""Access tokens: keys, signing, verification."""
