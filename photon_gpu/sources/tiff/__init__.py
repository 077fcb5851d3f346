"""Source of movies in TIFF and BigTIFF files."""
