"""Compiled calls that encode and decode chunks of layout plain, without Python's lock."""
