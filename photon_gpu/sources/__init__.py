"""Sources of movies: arrays, files and simulations, opened for reading."""
