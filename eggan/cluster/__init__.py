"""Calls on the machines of a Dask cluster: each is the process that a local run would start."""
