"""Kernels in three versions with the same results: reference (NumPy), cpu (Numba) and cuda (CuPy)."""
