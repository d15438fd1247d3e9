"""Deterministic, content-addressed computation on Dask."""
