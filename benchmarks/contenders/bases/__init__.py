"""Base classes of the contenders, and the check of their errors."""
