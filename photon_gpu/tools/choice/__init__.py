"""Choose the quantization step whose effect on analyses is small beside that of the photon noise."""
