"""`python -m invariant_dask` is `invariant-dask`."""

from invariant_dask.cli import main

if __name__ == "__main__":
    main()
