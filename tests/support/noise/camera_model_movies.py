"""Simulated movies of common camera models, with their true noise models."""

import numpy as np

from photon_gpu.engine.model.noise import NoiseModel

# Gain, offset, read noise (ADU), and photons in the middle of the field.
CAMERAS = {
    "sCMOS, 2.2 ADU/photon": (2.17, 100, 3.5, 3.0),
    "sCMOS, 12 bit": (0.133, 100, 0.8, 200.0),
    "CCD": (0.667, 1000, 3.0, 30.0),
    "EMCCD": (20.0, 500, 8.0, 4.0),
    "two-photon PMT": (100.0, 92, 20.0, 3.0),
    "photon counter": (1.0, 0, 0.0, 1.0),
}


def movie(gain=1.0, offset=0.0, read=0.0, photons=10.0, *, frames=60, size=64, move=0, flicker=0.0, seed=5):
    """Simulate smooth light that varies by a factor of 50 over the field, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 1, (size, size))
    for _ in range(6):
        field = sum(np.roll(field, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    field = photons * np.exp(field / field.std())
    light = np.stack([np.roll(field, move * t, axis=1) for t in range(frames)])
    light *= 1 + flicker * rng.normal(0, 1, (frames, 1, 1))
    values = gain * rng.poisson(light.clip(0)) + offset + rng.normal(0, read, light.shape)
    return np.rint(values).clip(0, 65_535).astype("uint16")


def of(camera, **changes):
    gain, offset, read, photons = CAMERAS[camera]
    return movie(gain, offset, read, photons, **changes), NoiseModel(
        gain=gain, offset=offset, variance=read**2
    )
