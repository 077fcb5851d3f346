"""Encode, store and publish frames while they arrive."""
