"""Movies as labs have them, opened for reading: arrays, files, simulations."""
