"""One module for each library that is measured, and what they have in common.

Everything here also runs in an interpreter without invariant-dask, as graphchain needs one.
"""
