"""Running the CUDA kernels, and the CuPy host code, where there is no GPU."""
