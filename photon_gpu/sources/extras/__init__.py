"""Sources of movies that are read by a library that photon_gpu does not install by itself."""
