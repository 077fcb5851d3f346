"""Code that several tests use: movies, files, servers, and disks and networks that fail on purpose."""
