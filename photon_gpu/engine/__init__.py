"""The engine: convert the values of one chunk to bytes and back, without files or network."""
