"""The backend ``cupy``, which processes several chunks at once on CUDA devices."""
