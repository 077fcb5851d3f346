"""Layouts of a chunk in Zarr: plain, compact and lossless."""
