"""Compare a stored movie with its source (fidelity) and with its manifest (integrity)."""
