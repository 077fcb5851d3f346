"""Finish a recording that was interrupted."""
