"""The codecs of zarr-python decode by libphoton if they are told to, and where Numba cannot be loaded."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import zarr

from photon_gpu.errors import BackendUnavailableError, CorruptDataError, UnsupportedVersionError
from photon_gpu.plugins import libphoton, numcodecs_photon
from photon_gpu.plugins.libphoton import VARIABLE
from photon_gpu.plugins.numcodecs_photon import Photon
from tests.support.stores.forged_payloads import of_unknown_predictor, sealed
from tests.support.stores.golden_names import GOLDEN, LISTED

COMPACT = [name for name in LISTED if name.startswith("compact")]

WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import numpy as np, zarr
array = zarr.open(sys.argv[1], mode="r")
assert array.metadata.to_dict()["filters"]
np.testing.assert_array_equal(array[...], np.load(sys.argv[2]))
"""


@pytest.fixture
def chosen(built, monkeypatch):
    """Let libphoton decode; the engine would fail."""
    monkeypatch.setenv(VARIABLE, str(built / "libphoton.so"))
    monkeypatch.setattr(numcodecs_photon, "_engine", lambda: pytest.fail("the engine was used"))


@pytest.mark.parametrize("name", COMPACT)
def test_every_golden_store_has_the_same_counts(chosen, name):
    counts = zarr.open_array(str(GOLDEN / name / "store"), mode="r")[...]
    expected = np.load(GOLDEN / name / "counts.npy")
    assert counts.dtype == expected.dtype
    np.testing.assert_array_equal(counts, expected)


def test_a_shard_of_zarr_v3_has_the_same_counts(chosen):
    folder = GOLDEN / "ome-zarr-0.5-compact"
    counts = zarr.open_group(str(folder / "store.ome.zarr"), mode="r")["0"][...]
    np.testing.assert_array_equal(counts, np.load(folder / "counts.npy"))


def without_numba(environment, name="compact-2.7-peaks-channels"):
    store, expected = str(GOLDEN / name / "store"), str(GOLDEN / name / "counts.npy")
    command = [sys.executable, "-c", WITHOUT_NUMBA, store, expected]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_it_decodes_where_numba_cannot_be_loaded(built):
    done = without_numba({VARIABLE: str(built / "libphoton.so")})
    assert done.returncode == 0, done.stderr


def test_without_both_the_error_names_the_remedy():
    done = without_numba({})
    assert f"pip install numba, or set {VARIABLE}" in done.stderr
    assert "BackendUnavailableError: Numba cannot be loaded" in done.stderr


def test_the_engine_decodes_unless_it_is_told_otherwise(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert libphoton.libphoton() is None


@pytest.mark.parametrize(
    "version, message",
    [(0x10206, "reads format 2.6"), (0x20207, "has interface 2"), (None, "cannot be loaded")],
)
def test_another_version_is_refused(built, tmp_path, monkeypatch, version, message):
    """A library that would decode otherwise is never used in silence."""
    body = "int other;" if version is None else f"unsigned photon_version(void) {{ return {version}; }}"
    (tmp_path / "other.c").write_text(body)
    subprocess.run(["gcc", "-shared", "-fPIC", "other.c", "-o", "other.so"], cwd=tmp_path, check=True)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other.so"))
    payload = Photon().encode(np.ones((2, 3, 4), "uint16"))
    with pytest.raises(BackendUnavailableError, match=message):
        Photon().decode(payload)


def test_damaged_and_hostile_payloads_are_errors_of_photon_gpu(built, monkeypatch):
    payload = Photon().encode(np.arange(24, dtype="uint16").reshape(2, 3, 4))
    monkeypatch.setenv(VARIABLE, str(built / "libphoton.so"))
    damaged = payload.copy()
    damaged[-1] ^= 1
    for bad in (damaged, payload[:-1], payload[:50], b"", b"PHTC"):
        with pytest.raises(CorruptDataError):
            Photon().decode(bad)
    huge = payload.copy()
    huge[96:104] = np.frombuffer((1 << 31).to_bytes(8, "little"), np.uint8)
    for bad in (huge, sealed(huge)):
        with pytest.raises(CorruptDataError):
            Photon().decode(bad)
    with pytest.raises(CorruptDataError, match="its store says"):
        Photon(gain=3.0).decode(payload)
    with pytest.raises(UnsupportedVersionError, match="later version"):
        Photon().decode(of_unknown_predictor())
