"""The fidelity report: what the stored movie keeps of the raw one, line by line."""
