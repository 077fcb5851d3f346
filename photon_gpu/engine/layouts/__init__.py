"""The three layouts of a chunk in Zarr: plain, compact, lossless."""
