"""decoder/photon_decode.py reads what every version wrote, without photon_gpu."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.store.ome_zarr import shards
from tests.support.stores.forged_payloads import of_unknown_predictor
from tests.support.stores.golden_names import GOLDEN, LISTED

FILE = Path(__file__).parents[2] / "decoder" / "photon_decode.py"
MOST_LINES = 600


def load() -> Any:
    spec = importlib.util.spec_from_file_location("photon_decode", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


decoder = load()


def decode(folder: Path, *, stabilized: bool = False) -> np.ndarray:
    movie = decoder.Movie(folder)
    chunks = [movie.chunk(number, stabilized) for number in range(movie.chunk_count)]
    return np.concatenate(chunks) if chunks else np.empty(movie.shape, movie.dtype)


def equals_product(folder: Path) -> None:
    movie = pg.open(folder)
    np.testing.assert_array_equal(decode(folder), movie.counts[...])
    np.testing.assert_array_equal(decode(folder, stabilized=True), movie[...])


def test_imports_the_standard_library_numpy_and_zstandard_only():
    nodes = [
        node
        for node in ast.walk(ast.parse(FILE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    others = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    assert others <= {"numpy", "zstandard", "compression.zstd"}
    assert len([line for line in FILE.read_text().splitlines() if line.strip()]) < MOST_LINES


def test_a_predictor_of_a_later_version_is_no_damage():
    payload = of_unknown_predictor()
    with pytest.raises(Exception, match="predictor 99 is unknown: a newer version"):
        decoder.read_header(payload.tobytes())


@pytest.mark.parametrize("name", LISTED)
def test_reads_every_golden_store(name):
    folder = GOLDEN / name
    counts = decode(folder / "store")
    expected = np.load(folder / "counts.npy")
    assert counts.dtype == expected.dtype
    np.testing.assert_array_equal(counts, expected)
    if pg.open(folder / "store").encoding.models:
        stabilized = decode(folder / "store", stabilized=True)
        np.testing.assert_array_equal(stabilized, np.load(folder / "stabilized.npy"))


def movie_of(dtype: str, shape: tuple[int, ...], light: float = 40.0) -> np.ndarray:
    random = np.random.default_rng(7)
    photons = random.poisson(light, shape)
    photons.reshape(-1)[::97] *= 3
    return (photons * 2.0 + random.normal(0, 1.5, shape)).astype(dtype)


@pytest.mark.parametrize(
    "compressor",
    ["lz4-1-shuffle", "lz4hc-5-bitshuffle", "zlib-3-none", "blosclz-9-shuffle", "zstd-5-bitshuffle"],
)
@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_reads_every_compressor(tmp_path, compressor, layout):
    movie = movie_of("uint16", (11, 33, 47))
    movie[:, 20:] = 9  # a run, so that there are matches
    pg.encode(
        movie,
        tmp_path / "m",
        noise=pg.NoiseModel(gain=2, offset=0, variance=2),
        layout=layout,
        compressor=compressor,
        chunk_frames=4,
        check=False,
        trust_noise=True,
    )
    equals_product(tmp_path / "m")


@pytest.mark.parametrize("predictor", ["none", "mean", "past", "full", "spatial", "moving"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
def test_reads_every_predictor_and_dtype(tmp_path, predictor, dtype):
    movie = movie_of(dtype, (5, 2, 19, 23), light=8)
    pg.encode(
        movie,
        tmp_path / "m",
        noise=pg.NoiseModel(gain=2, offset=1, variance=2),
        layout="compact",
        predictor=predictor,
        preset="small",
        check=False,
        trust_noise=True,
    )
    equals_product(tmp_path / "m")


@pytest.mark.parametrize(
    "noise",
    [
        pg.NoiseModel(gain=0.3, offset=100, variance=4),
        pg.NoiseModel(gain=1, offset=0, variance=0),
        pg.NoiseModel(gain=80, offset=-20, variance=900),
    ],
)
@pytest.mark.parametrize("dither", [None, 11])
@pytest.mark.parametrize("step", [0.1, 2.0])
@pytest.mark.filterwarnings("ignore:a step of 2 keeps")
def test_reads_any_model(tmp_path, noise, dither, step):
    movie = movie_of("int16", (2, 8, 9), light=12)
    pg.encode(
        movie,
        tmp_path / "m",
        noise=noise,
        step=step,
        dither=dither,
        layout="compact",
        check=False,
        trust_noise=True,
    )
    equals_product(tmp_path / "m")


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3, 1)])
@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_reads_small_movies(tmp_path, shape, layout):
    pg.encode(
        movie_of("uint16", shape),
        tmp_path / "m",
        noise=pg.NoiseModel(gain=2, offset=0, variance=2),
        layout=layout,
        check=False,
        trust_noise=True,
    )
    equals_product(tmp_path / "m")


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_reads_shards_and_chunks_that_a_recording_keeps_apart(tmp_path, layout, monkeypatch):
    movie = movie_of("uint16", (7, 2, 8, 9))
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * movie[:2].nbytes)
    options = {"layout": layout, "chunk_frames": 2, "check": False, "trust_noise": True}
    pg.encode(movie, tmp_path / "m.ome.zarr", axes="tcyx", noise=pg.NoiseModel(gain=2), **options)
    equals_product(tmp_path / "m.ome.zarr")
    array = tmp_path / "m.ome.zarr" / "0"
    expected, storage = decode(tmp_path / "m.ome.zarr"), pg.open(tmp_path / "m.ome.zarr").storage
    for name in ("2.0.0.0", "3.0.0.0"):
        (array / name).write_bytes(storage.read(name))
    (array / "c/1/0/0/0").unlink()
    np.testing.assert_array_equal(decode(tmp_path / "m.ome.zarr"), expected)


def test_a_changed_index_of_a_shard_is_an_error(tmp_path):
    pg.encode(movie_of("uint16", (4, 8, 9)), tmp_path / "m.ome.zarr", noise=pg.NoiseModel(), check=False)
    shard = tmp_path / "m.ome.zarr/0/c/0/0/0"
    whole = shard.read_bytes()
    for index in (b"\xff" * 16, b"\x01" + whole[-19:-4]):
        shard.write_bytes(whole[:-20] + index + whole[-4:])
        with pytest.raises(decoder.DecodeError, match=r"does not hold chunk 0|0\.0\.0 fails its checksum"):
            decode(tmp_path / "m.ome.zarr")


def test_a_changed_byte_is_an_error(tmp_path):
    shutil.copytree(GOLDEN / "compact-2.4-full" / "store", tmp_path / "m")
    chunk = tmp_path / "m" / "0.0.0"
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(decoder.DecodeError, match="checksum"):
        decode(tmp_path / "m")


def test_runs_as_a_command_where_photon_gpu_is_not_installed(tmp_path):
    store = GOLDEN / "compact-2.4-moving" / "store"
    shutil.copy(FILE, tmp_path / "alone.py")
    code = (
        "import runpy, sys; sys.modules['photon_gpu'] = None; runpy.run_path('alone.py', run_name='__main__')"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(store), "out.npy"], cwd=tmp_path, check=True, capture_output=True
    )
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.load(store.parent / "counts.npy"))


def test_float32_points_stay_within_bins_as_narrow_as_float32(tmp_path):
    movie = (1e7 + np.arange(40).reshape(2, 4, 5)).astype("float32")
    noise = pg.NoiseModel(gain=1.0, offset=10000000.439, variance=0.0)
    pg.encode(movie, tmp_path / "m", noise=noise, step=0.802, layout="compact", check=False, trust_noise=True)
    equals_product(tmp_path / "m")


def test_a_payload_of_another_shape_is_refused_before_it_is_decoded(tmp_path):
    """Its header may ask for more than the array holds."""
    for name, frames in (("small", 2), ("large", 40)):
        values = np.zeros((frames, 8, 8), "uint16")
        pg.encode(values, tmp_path / name, layout="compact", noise=pg.NoiseModel(), check=False)
    shutil.copy(tmp_path / "large" / "0.0.0", tmp_path / "small" / "0.0.0")
    (tmp_path / "small" / ".manifest.json").unlink()
    with pytest.raises(decoder.DecodeError, match=r"a chunk is of 40 frames of \(40, 8, 8\)"):
        decode(tmp_path / "small")
