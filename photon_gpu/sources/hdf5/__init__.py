"""Source of movies in HDF5 and NWB files."""
