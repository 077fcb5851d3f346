"""Simulated two-photon movies with a known noise model."""
