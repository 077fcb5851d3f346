"""Photon codecs for numcodecs (Zarr v2) and for Zarr v3."""
