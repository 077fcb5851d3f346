"""Encode many movies on a Dask cluster."""
