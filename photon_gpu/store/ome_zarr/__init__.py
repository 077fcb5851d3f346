"""The OME-Zarr 0.5 container: a movie as a Zarr v3 group with one array in shards."""
