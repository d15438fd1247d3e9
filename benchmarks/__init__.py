"""Measurements, each printed as a ratio to a peer or a limit of the same run."""
