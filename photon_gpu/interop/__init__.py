"""Stored movies in programs of others: napari, roiextractors."""
