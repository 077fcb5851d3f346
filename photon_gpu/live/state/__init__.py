"""The settings and the state of a recording."""
