"""Simulated detectors, scenes and processing, for the noise estimate."""
