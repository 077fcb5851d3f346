"""Fidelity report: measure, line by line, what a stored movie keeps of the raw one."""
