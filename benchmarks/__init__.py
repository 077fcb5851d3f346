"""Measurements: each module of this folder is a command, ``python -m benchmarks.NAME``."""
