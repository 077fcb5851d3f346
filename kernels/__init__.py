"""Kernels in three equal versions: reference (NumPy), cpu (Numba) and cuda (CuPy)."""
