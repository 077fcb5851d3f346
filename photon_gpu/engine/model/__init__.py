"""The noise model, the Anscombe transform, and the exact tables of codes."""
