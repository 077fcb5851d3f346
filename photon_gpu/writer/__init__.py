"""Encode a movie: prepare, tune, write chunks in order, read back, report."""
