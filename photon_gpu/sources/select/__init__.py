"""Name the axes of a source, and choose its frames, channels and planes."""
