"""Movies in many files: which files, in which order, and one source for all of them."""
