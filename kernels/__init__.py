"""The twins: reference (slow, obvious), cpu (Numba), cuda (CuPy): same functions, same order."""
