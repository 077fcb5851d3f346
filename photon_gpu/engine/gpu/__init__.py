"""The backend ``cupy``: chunks through CUDA devices, several at once. CuPy loads when a device is asked for."""
