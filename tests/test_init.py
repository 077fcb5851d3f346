"""``import photon_gpu`` costs nothing; its names load what they need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import photon_gpu as pg

HEAVY = [
    "numba",
    "zarr",
    "cupy",
    "datajoint",
    "dask",
    "matplotlib",
    "h5py",
    "tifffile",
    "imagecodecs",
    "numcodecs",
    "fsspec",
    "rich",
    "typer",
    "scipy",
    "s3fs",
    "gcsfs",
]


def loaded_after(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(out.stdout.splitlines()[-1]))


def test_importing_loads_nothing_heavy():
    assert not loaded_after("import photon_gpu") & {*HEAVY, "numpy"}


@pytest.mark.parametrize(
    "name", ["NoiseModel", "anscombe", "PhotonError", "Compressor", "Predictor", "Storage"]
)
def test_light_names_load_nothing_heavy(name):
    assert not loaded_after(f"import photon_gpu; photon_gpu.{name}") & set(HEAVY)


def test_opening_and_encoding_do_not_load_what_they_do_not_use():
    code = """
import numpy as np, photon_gpu as pg
pg.encode(np.ones((3, 8, 8), "uint16"), "memory://m.zarr", layout="compact", noise=pg.NoiseModel())
pg.open("memory://m.zarr").counts[...]
"""
    assert not loaded_after(code) & {"cupy", "datajoint", "dask", "matplotlib", "h5py", "tifffile", "typer"}


@pytest.mark.parametrize("name", pg.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pg, name) is not None and name in dir(pg)
    assert getattr(pg, name) is getattr(pg, name)


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="No photon_gpu attribute nothing"):
        pg.nothing  # noqa: B018


def test_the_version_is_the_packages():
    from importlib.metadata import version

    assert pg.__version__ == version("photon-gpu")
