"""Open stored movies in other programs: napari, roiextractors."""
