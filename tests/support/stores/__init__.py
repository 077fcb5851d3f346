"""Stored movies and chunks: golden, of every layout, and forged."""
