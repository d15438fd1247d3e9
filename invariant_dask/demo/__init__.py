"""A pipeline on real photographs: what `invariant-dask demo` runs, and an example of a package.

`ops` are the operations, `pipeline` is the graph, `report` runs it three times and says what
happened. Printing is the command line's business, and nothing else imports this package.
"""
