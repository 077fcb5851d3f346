"""Movies in many files: find the files, order them, and read them as one source."""
