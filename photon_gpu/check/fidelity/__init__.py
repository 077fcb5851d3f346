"""Fidelity report: measure how much of the raw movie a stored movie preserves."""
