"""TIFF and BigTIFF movies, read page by page without building every page object."""
