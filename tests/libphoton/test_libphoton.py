"""libphoton, built by the machine's C compiler, equals the product on all it decodes and survives damage."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numcodecs import blosc
from typer.testing import CliRunner

import photon_gpu as pg
from photon_gpu.cli.app import app
from tests.support.stores.forged_payloads import of_unknown_predictor
from tests.support.stores.golden_names import GOLDEN, LISTED

# photon_decode takes the payload of one channel; the HDF5 filter reads the table of several.
COMPACT = [name for name in LISTED if name.startswith("compact") and "-channels" not in name]
CHANNELS = [name for name in LISTED if name.startswith("compact") and "-channels" in name]
DTYPES = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
FILTER = 480
# What the library may call: arithmetic, copies of memory, and what the compiler adds.
CALLED = set("memcpy memmove memset memcmp floor ceil sqrt pow ldexp frexp fabs nextafter nextafterf".split())
CALLED |= {"__cpu_model", "__cpu_indicator_init", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
Decode = Callable[..., np.ndarray]


class PhotonError(Exception):
    pass


class Info(ctypes.Structure):
    """The first fields of ``photon_info``; the rest belongs to the library."""

    _fields_ = [
        ("shape", ctypes.c_uint64 * 32),
        ("axes", ctypes.c_uint32),
        ("frames", ctypes.c_uint32),
        ("samples", ctypes.c_uint64),
        ("dtype", ctypes.c_uint32),
        ("itemsize", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 512),
    ]


@pytest.fixture(scope="module")
def decode(built: Path) -> Decode:
    library = ctypes.CDLL(str(built / "libphoton.so"))
    library.photon_message.restype = ctypes.c_char_p
    size = ctypes.c_size_t

    def call(name: str, *arguments: object) -> None:
        if status := getattr(library, name)(*arguments):
            raise PhotonError(library.photon_message(status).decode())

    def decode(chunk: bytes, *, stabilized: bool = False) -> np.ndarray:
        opened, memory, info = size(), size(), Info()
        call("photon_frame_size", chunk, size(len(chunk)), ctypes.byref(opened))
        call("photon_frame_memory", chunk, size(len(chunk)), ctypes.byref(memory))
        payload, scratch = (ctypes.create_string_buffer(n.value or 1) for n in (opened, memory))
        call("photon_open_frame", chunk, size(len(chunk)), payload, opened, scratch, memory)
        call("photon_read_info", payload, opened, ctypes.byref(info))
        call("photon_memory", ctypes.byref(info), int(stabilized), ctypes.byref(memory))
        scratch = ctypes.create_string_buffer(memory.value)
        out = np.empty(info.samples, "float64" if stabilized else DTYPES[info.dtype])
        at = out.ctypes.data_as(ctypes.c_void_p)
        call("photon_decode", payload, opened, int(stabilized), at, size(out.nbytes), scratch, memory)
        return out.reshape(tuple(info.shape[: info.axes]))[: info.frames]

    return decode


def chunks_of(store: Path, axes: int) -> list[bytes]:
    names, number = [], 0
    while (store / (name := ".".join([str(number)] + ["0"] * (axes - 1)))).exists():
        names.append((store / name).read_bytes())
        number += 1
    return names


@pytest.mark.parametrize("name", COMPACT)
def test_decodes_every_golden_store(decode, name):
    for stabilized, file in ((False, "counts.npy"), (True, "stabilized.npy")):
        expected = np.load(GOLDEN / name / file)
        chunks = chunks_of(GOLDEN / name / "store", expected.ndim)
        values = np.concatenate([decode(chunk, stabilized=stabilized) for chunk in chunks])
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)


def symbols(file: Path, *options: str) -> dict[str, str]:
    """The letter by which ``nm`` says where each symbol lies."""
    lines = subprocess.run(["nm", *options, str(file)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1]: line.split()[-2] for line in lines.splitlines() if len(line.split()) > 1}


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed: apt install binutils")
def test_the_library_is_a_dozen_functions_that_keep_nothing_and_call_no_allocator(built, tmp_path):
    header = (built / "photon.h").read_text()
    declared = set(re.findall(r"^(?:int|uint32_t|const char \*) ?(photon_\w+)\(", header, re.M))
    exported = symbols(built / "libphoton.so", "-D", "--defined-only")
    assert set(exported) == declared and len(declared) <= 12
    for source in sorted(built.glob("*.c")):
        if source.name not in ("fuzz.c", "hdf5_filter.c"):
            line = ["gcc", "-std=c11", "-O1", "-fno-pie", "-DPHOTON_PLAIN", "-c", str(source), "-o", "one.o"]
            subprocess.run(line, cwd=tmp_path, check=True)
            letters = symbols(tmp_path / "one.o")
            assert not [name for name, letter in letters.items() if letter in "bBdDC"], "it keeps state"
            others = {name for name, letter in letters.items() if letter == "U" and "photon_" not in name}
            assert others <= CALLED, source


def test_a_predictor_of_a_later_version_is_no_damage(decode):
    chunk = bytes(blosc.compress(of_unknown_predictor(), b"zstd", 1, 0, 0))
    with pytest.raises(PhotonError, match="a later version of the format"):
        decode(chunk)


@pytest.mark.parametrize("preset", ["fast", "balanced", "small"])
@pytest.mark.parametrize(
    "noise",
    [
        pg.NoiseModel(gain=1.0, offset=0.5, variance=2.0),
        pg.NoiseModel(gain=0.3, offset=100.0, variance=4.0),
        pg.NoiseModel(gain=83.0, offset=-20.0, variance=900.0),
        pg.NoiseModel(gain=2.0, offset=10.0, variance=1e-300),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("dither", [None, 5])
def test_decodes_what_the_product_encodes(decode, tmp_path, preset, noise, dtype, dither):
    random = np.random.default_rng(3)
    light = random.uniform(0.2, 30, (1, 40, 37))
    movie = (
        noise.offset + noise.gain * random.poisson(light, (7, 40, 37)) + random.normal(0, 1.5, (7, 40, 37))
    )
    limits = np.iinfo(dtype) if dtype != "float32" else np.finfo(dtype)
    movie = movie.clip(limits.min, limits.max).astype(dtype)
    pg.encode(
        movie,
        tmp_path / "m",
        noise=noise,
        layout="compact",
        preset=preset,
        dither=dither,
        chunk_frames=4,
        check=False,
        trust_noise=True,
    )
    stored = pg.open(tmp_path / "m")
    chunks = chunks_of(tmp_path / "m", 3)
    np.testing.assert_array_equal(np.concatenate([decode(chunk) for chunk in chunks]), stored.counts[...])
    stabilized = np.concatenate([decode(chunk, stabilized=True) for chunk in chunks])
    np.testing.assert_array_equal(stabilized, stored[...])


@pytest.mark.parametrize(
    "most, least_top, frames",
    [(8, 8, 9), (40, 16, 9), (40, 16, 600), (150, 32, 9), (400, 64, 9), (850, 96, 9)],
)
def test_tables_of_every_size_that_registers_hold_give_the_counts(decode, tmp_path, most, least_top, frames):
    """600 frames are so many samples that they are stored past the cache."""
    movie = np.random.default_rng(1).integers(0, most, (frames, 61, 63), "uint16", endpoint=True)
    options = {"layout": "compact", "preset": "fast", "check": False, "trust_noise": True}
    pg.encode(movie, tmp_path / "m", noise=pg.NoiseModel(), chunk_frames=frames, **options)
    chunk = (tmp_path / "m" / "0.0.0").read_bytes()
    top = int.from_bytes(blosc.decompress(chunk)[44:48], "little")
    assert least_top <= top < 2 * least_top
    np.testing.assert_array_equal(decode(chunk), pg.open(tmp_path / "m").counts[...])


def test_another_compressor_is_named(decode, tmp_path):
    movie = np.random.default_rng(0).poisson(9, (3, 32, 32)).astype("uint16")
    pg.encode(
        movie, tmp_path / "m", noise=pg.NoiseModel(), layout="compact", compressor="lz4-1-none", check=False
    )
    with pytest.raises(PhotonError, match="another compressor"):
        decode(chunks_of(tmp_path / "m", 3)[0])


def test_a_changed_bit_is_an_error_or_changes_nothing(decode):
    chunk = chunks_of(GOLDEN / "compact-2.4-full" / "store", 3)[0]
    values = decode(chunk)
    refused = 0
    for bit in range(0, 8 * len(chunk), 7):
        damaged = bytearray(chunk)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            np.testing.assert_array_equal(decode(bytes(damaged)), values)
        except PhotonError:
            refused += 1
    assert refused > 0.9 * len(range(0, 8 * len(chunk), 7))


def test_hostile_chunks_end_in_an_error(built):
    chunks = [
        str(path) for name in COMPACT + CHANNELS for path in sorted((GOLDEN / name / "store").glob("[0-9]*"))
    ]
    done = subprocess.run(["./fuzz", "3", "1", *chunks], cwd=built, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[1]) >= 1000
    print(done.stdout)


@pytest.mark.parametrize(
    "name", ["compact-2.4-moving", "compact-2.4-raw-float64", "compact-2.4-4d", *CHANNELS]
)
def test_hdf5_reads_chunks_by_the_plugin(built, tmp_path, name):
    counts = np.load(GOLDEN / name / "counts.npy")
    chunk = tuple(pg.open(GOLDEN / name / "store").chunks)
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(chunk)
        properties.set_filter(FILTER, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(counts.shape)
        dataset = h5py.h5d.create(file.id, b"counts", h5py.h5t.py_create(counts.dtype), space, properties)
        for number, data in enumerate(chunks_of(GOLDEN / name / "store", counts.ndim)):
            dataset.write_direct_chunk((number * chunk[0],) + (0,) * (counts.ndim - 1), data)
    code = "import h5py, numpy, sys; numpy.save(sys.argv[2], h5py.File(sys.argv[1])['counts'][...])"
    subprocess.run(
        [sys.executable, "-c", code, "movie.h5", "out.npy"],
        cwd=tmp_path,
        env={**os.environ, "HDF5_PLUGIN_PATH": str(built)},
        check=True,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), counts)


@pytest.fixture
def filtered(tmp_path: Path) -> Path:
    """Folder of a movie, and of the file that ``decode --filter photon`` wrote of it."""
    frames = np.random.default_rng(4).poisson(20, (23, 2, 30, 40)).astype("uint16")
    source = pg.open_source(frames, axes="tcyx")
    source.recording = source.recording.replace(frame_rate=30.0)
    pg.encode(
        source, tmp_path / "m.zarr", chunk_frames=10, noise=pg.NoiseModel(), layout="compact", check=False
    )
    line = ["decode", str(tmp_path / "m.zarr"), str(tmp_path / "m.h5"), "--filter", "photon"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    return tmp_path


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed: apt install hdf5-tools")
def test_h5dump_reads_it_by_the_plugin_alone(built, filtered):
    line = ["h5dump", "--dataset=/movie", "--binary=LE", "--output=out.bin", "m.h5"]

    def dump(plugins: Path) -> subprocess.CompletedProcess:
        environment = {**os.environ, "HDF5_PLUGIN_PATH": str(plugins)}
        return subprocess.run(line, cwd=filtered, env=environment, capture_output=True, text=True)

    assert dump(filtered).returncode != 0
    done = dump(built)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = pg.open(filtered / "m.zarr").counts[...]
    values = np.fromfile(filtered / "out.bin", expected.dtype).reshape(expected.shape)
    np.testing.assert_array_equal(values, expected)


def test_decode_writes_a_file_as_small_as_the_movie_that_the_plugin_reads(built, filtered):
    tmp_path, frames = filtered, pg.open(filtered / "m.zarr").counts
    chunks = sum(path.stat().st_size for path in (tmp_path / "m.zarr").glob("[0-9]*"))
    assert (tmp_path / "m.h5").stat().st_size < chunks + 20_000 < frames.nbytes
    code = "import photon_gpu as pg, numpy; s = pg.open_source('m.h5'); numpy.save('out.npy', s.read(0, 23));"
    code += "assert (s.recording.axes, s.recording.frame_rate) == ('tcyx', 30.0)"
    environment = {**os.environ, "HDF5_PLUGIN_PATH": str(built)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), pg.open(tmp_path / "m.zarr").counts[...])
