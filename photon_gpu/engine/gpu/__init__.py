"""The backend ``cupy``: several chunks at once on CUDA devices. CuPy loads with the first device."""
