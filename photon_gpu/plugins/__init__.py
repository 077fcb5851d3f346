"""Photon as a codec of other libraries: numcodecs (Zarr v2) and Zarr v3."""
