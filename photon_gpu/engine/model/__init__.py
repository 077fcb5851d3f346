"""The noise model, its transform, and the integer tables that decide every code."""
