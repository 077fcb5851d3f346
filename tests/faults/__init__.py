"""Faults of every kind, by schedule and seed. Invariant: an acknowledged frame decodes exactly, or is named as lost."""
