"""Instructions of the processor that NumPy has no name for, for compiled kernels to call."""
