"""What tests share: movies, files, servers, and things that fail on purpose."""
