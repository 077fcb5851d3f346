"""Faults of every kind, by schedule and seed: an acknowledged frame decodes, or is named as lost."""
