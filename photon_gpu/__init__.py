"""photon_gpu: compression for photon-limited movies."""
