"""All that knows Dask: task bodies, artifact handles, Dask graphs and how they are driven."""
