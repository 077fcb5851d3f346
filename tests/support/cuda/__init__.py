"""Run the CUDA kernels and the GPU pipeline without a GPU, and plant bugs in them."""
