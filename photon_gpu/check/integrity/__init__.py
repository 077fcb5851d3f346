"""Verify and repair the stored files of a movie."""
