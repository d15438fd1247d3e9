"""Code whose fingerprints are written down in `tests/vectors/fingerprints.json`: never edited."""
