"""Movies for measurements: from the corpus at PHOTON_GPU_CORPUS, or simulated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg

NOISE = {
    "2p_cortex.tif": pg.NoiseModel(gain=100.0, offset=92.0),
    "lattice_lightsheet_z.tif": pg.NoiseModel(gain=2.3, offset=95.0, variance=8.0),
    "photoncount_flim_ptu.npy": pg.NoiseModel(),
    "photoncount_flim_sdt.npz": pg.NoiseModel(),
    "camera_single_molecule.npy": pg.NoiseModel(gain=2.0, offset=100.0, variance=4.0),
}


@dataclass(frozen=True)
class Case:
    """A movie in memory with its noise model."""

    name: str
    values: NDArray
    noise: pg.NoiseModel


def corpus() -> Iterator[Case]:
    """Recordings of the corpus; none if there is no corpus."""
    folder = os.environ.get("PHOTON_GPU_CORPUS")
    for name, noise in NOISE.items() if folder else ():
        path = Path(folder or "") / name
        if path.exists():
            with pg.open_source(path) as source:
                yield Case(Path(name).stem, np.array(source.read(0, source.shape[0])), noise)


def simulated(frames: int = 300, photons: float = 5.0) -> Case:
    """A simulated two-photon movie, as large as that of the corpus."""
    movie = pg.simulate(frames=frames, height=200, width=200, photons=photons, seed=1)
    return Case(f"simulated {photons:g} photons", movie.read(0, frames), movie.noise)


def main_case() -> Case:
    """The two-photon movie of the corpus, or the simulated one."""
    return next((case for case in corpus() if case.name == "2p_cortex"), None) or simulated()
