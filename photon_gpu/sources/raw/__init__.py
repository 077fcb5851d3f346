"""Sources of movies in files of raw frames, described by a file beside them or by the caller."""
