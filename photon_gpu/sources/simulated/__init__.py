"""Source of simulated two-photon movies with a known noise model."""
