"""Encoding: the layouts as documented, safety, memory, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.errors import (
    InvalidInputError,
    PhotonError,
    StoreExistsError,
    StoreNotFoundError,
    UnsupportedTypeError,
)
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.base import Source
from photon_gpu.store.claim import MARKER, Claim
from photon_gpu.store.storage import Storage
from photon_gpu.writer import compression_tuning
from photon_gpu.writer import encode as writer
from tests.support.noise.one_camera_movies import CAMERA, Endless, camera_movie


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_every_dtype_in_every_layout(layout, dtype, tmp_path):
    values = camera_movie(dtype=dtype)
    report = pg.encode(
        values, tmp_path / "m.zarr", noise=CAMERA, layout=layout, chunk_frames=10, preset="fast"
    )
    movie = pg.open(tmp_path / "m.zarr")
    assert movie.shape == values.shape and movie.chunks == (10, 17, 23)
    assert movie.counts[...].dtype == values.dtype
    assert np.abs(movie[...] - pg.anscombe(values, CAMERA)).max() <= 0.25 + 1e-9
    away = np.abs(pg.anscombe(movie.counts[...], CAMERA) - pg.anscombe(values, CAMERA)).max()
    assert away <= (0.5 if layout != "lossless" else 0) + 1e-9
    on_disk = sum(path.stat().st_size for path in (tmp_path / "m.zarr").iterdir())
    assert report.stored_bytes == on_disk and report.raw_bytes == values.nbytes
    assert report.ratio == pytest.approx(values.nbytes / on_disk)


def test_plain_is_the_documented_structure_key_for_key(tmp_path):
    values = np.random.default_rng(0).poisson(9.0, (1000, 8, 8)).astype("uint16")
    pg.encode(values, tmp_path / "movie.zarr", compressor="zstd-5-bitshuffle", noise=pg.NoiseModel())
    array = json.loads((tmp_path / "movie.zarr/.zarray").read_text(), object_pairs_hook=list)
    assert array == [
        ("chunks", [100, 8, 8]),
        ("compressor", [("id", "blosc"), ("cname", "zstd"), ("clevel", 5), ("shuffle", 2)]),
        ("dtype", "<f8"),
        ("fill_value", None),
        ("filters", None),
        ("order", "C"),
        ("shape", [1000, 8, 8]),
        ("zarr_format", 2),
    ]
    attributes = json.loads((tmp_path / "movie.zarr/.zattrs").read_text(), object_pairs_hook=list)
    assert attributes[:6] == [
        ("codec_version", "1.0"),
        ("codec_name", "photon"),
        ("anscombe_gain", 1.0),
        ("anscombe_offset", 0.0),
        ("anscombe_variance", 0.0),
        ("original_dtype", "uint16"),
    ]
    chunks = [path.name for path in (tmp_path / "movie.zarr").iterdir() if not path.name.startswith(".")]
    assert sorted(chunks, key=lambda name: int(name.split(".")[0])) == [f"{i}.0.0" for i in range(10)]


def test_chunks_are_byte_for_byte_what_zarr_python_would_write_and_a_seal(tmp_path):
    values = camera_movie(30, 64, 64)
    pg.encode(values, tmp_path / "ours.zarr", noise=CAMERA, chunk_frames=20)
    ours = pg.open(tmp_path / "ours.zarr")
    import numcodecs

    numcodecs.blosc.use_threads = False
    compressor = numcodecs.get_codec(ours.encoding.compressor.to_dict())
    theirs = zarr.create_array(
        str(tmp_path / "theirs.zarr"),
        shape=values.shape,
        chunks=(20, 64, 64),
        dtype="<f8",
        fill_value=None,
        compressors=compressor,
        filters=None,
        zarr_format=2,
    )
    theirs[:] = ours[...]
    for name in ("0.0.0", "1.0.0"):
        frames = [(tmp_path / movie / name).read_bytes() for movie in ("ours.zarr", "theirs.zarr")]
        length = (len(frames[1]) + 16).to_bytes(4, "little")
        assert frames[0][:-16] == frames[1][:12] + length + frames[1][16:]


def test_plain_opens_in_a_process_that_never_imports_photon_gpu(tmp_path):
    values = camera_movie()
    pg.encode(values, tmp_path / "m.zarr", noise=CAMERA)
    code = f"""
        import sys, zarr
        z = zarr.open({str(tmp_path / "m.zarr")!r}, mode="r")
        print(z.shape, float(z[7][3, 4]), z.attrs["anscombe_gain"], "photon_gpu" in sys.modules)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == [
        *"(25, 17, 23)".split(),
        str(pg.open(tmp_path / "m.zarr")[7][3, 4]),
        "2.0",
        "False",
    ]


def test_the_numpy_backend_writes_the_same_bytes(tmp_path):
    values = camera_movie(8)
    for layout in ("plain", "compact"):
        for backend in ("numba", "numpy"):
            pg.encode(values, tmp_path / f"{layout}-{backend}", noise=CAMERA, layout=layout, backend=backend)
        for path in (tmp_path / f"{layout}-numba").iterdir():
            assert path.read_bytes() == (tmp_path / f"{layout}-numpy" / path.name).read_bytes(), path.name


def test_the_number_of_threads_changes_nothing(tmp_path):
    values = camera_movie(64, 96, 96)
    for workers in (1, 2, 5):
        pg.encode(
            values, tmp_path / str(workers), noise=CAMERA, layout="compact", chunk_frames=9, workers=workers
        )
    for path in (tmp_path / "1").iterdir():
        for other in ("2", "5"):
            assert path.read_bytes() == (tmp_path / other / path.name).read_bytes(), path.name


def test_axes_beyond_three_and_single_frames(tmp_path):
    values = camera_movie(12).reshape(3, 2, 2, 17, 23)
    pg.encode(values, tmp_path / "five", noise=CAMERA, layout="compact")
    movie = pg.open(tmp_path / "five")
    assert movie[1, 0].shape == (2, 17, 23)
    assert np.abs(movie[...] - pg.anscombe(values, CAMERA)).max() <= 0.25 + 1e-9
    pg.encode(values[0, 0, :1], tmp_path / "one", noise=CAMERA)
    assert pg.open(tmp_path / "one").shape == (1, 17, 23)


def test_dither_is_recorded_and_removes_the_bias_of_sparse_combs(tmp_path):
    rng = np.random.default_rng(5)
    counts = 40 * rng.poisson(0.7, (40, 64, 64))
    values, noise = counts.astype("uint16"), pg.NoiseModel(gain=40.0)
    bias = {}
    for name, seed in (("without", None), ("with", 11)):
        pg.encode(values, tmp_path / name, noise=noise, layout="plain", dither=seed, check=False)
        movie = pg.open(tmp_path / name)
        assert movie.attrs["dither_seed"] == seed
        bias[name] = abs(movie.counts.astype("float64")[...].mean() - values.mean()) / (40 * 0.7**0.5)
    assert bias["without"] > 0.02 > 0.01 > bias["with"]


@pytest.mark.parametrize(
    "values, error, words",
    [
        (np.zeros((0, 4, 4), "uint16"), InvalidInputError, "empty"),
        (np.zeros(5, "uint16"), InvalidInputError, "axis"),
        (np.zeros((5, 4), "uint16"), InvalidInputError, r"np\.newaxis"),
        (np.zeros((2, 4, 4), object), UnsupportedTypeError, "object"),
        (np.zeros((2, 4, 4), complex), UnsupportedTypeError, "complex"),
        (np.zeros((2, 4, 4), bool), UnsupportedTypeError, "bool"),
        (np.full((2, 4, 4), np.nan), InvalidInputError, r"frame 0, pixel \(0, 0\)"),
        (
            np.where(np.arange(32).reshape(2, 4, 4) == 29, np.inf, 1.0),
            InvalidInputError,
            r"frame 1, pixel \(3, 1\)",
        ),
        (np.full((2, 4, 4), -3, "int16"), InvalidInputError, r"NoiseModel\(gain="),
        (np.full((2, 4, 4), 2**60, "int64"), InvalidInputError, r"2\*\*53"),
    ],
)
def test_bad_movies_are_refused_and_nothing_is_written(values, error, words, tmp_path):
    with pytest.raises(error, match=words):
        pg.encode(values, tmp_path / "m.zarr", noise=pg.NoiseModel())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"step": 0}, "step is 0"),
        ({"step": -1.0}, "step"),
        ({"step": 1e9}, "step"),
        ({"step": "much"}, "step"),
        ({"step": float("nan")}, "step"),
        ({"chunk_frames": 0}, "chunk_frames is 0"),
        ({"layout": "flat"}, "plain"),
        ({"preset": "best"}, "balanced"),
        ({"predictor": "lucky", "layout": "compact"}, "spatial"),
        ({"compressor": "gzip-1-none"}, "zstd"),
        ({"compressor": "zstd"}, "NAME-LEVEL-SHUFFLE"),
        ({"backend": "tpu"}, "numba"),
        ({"workers": 0}, "workers"),
        ({"dither": -1}, "dither"),
        ({"budget_bytes": 0}, "budget_bytes"),
    ],
)
def test_bad_parameters_are_refused_and_nothing_is_written(options, words, tmp_path):
    with pytest.raises(InvalidInputError, match=words):
        pg.encode(camera_movie(), tmp_path / "m.zarr", **{"noise": CAMERA, **options})
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_exists_is_refused_and_unharmed(tmp_path):
    values = camera_movie()
    pg.encode(values, tmp_path / "m.zarr", noise=CAMERA)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m.zarr").iterdir()}
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        pg.encode(values + 1, tmp_path / "m.zarr", noise=CAMERA)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "m.zarr").iterdir()}
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match="holds 1 files"):
        pg.encode(values, tmp_path / "foreign", noise=CAMERA)


@pytest.mark.parametrize("protocol", ["local", "memory"])
def test_overwriting_keeps_the_old_movie_until_the_new_one_is_whole(protocol, tmp_path):
    url = str(tmp_path / "m.zarr") if protocol == "local" else "memory://overwriting/m.zarr"
    values = camera_movie()
    pg.encode(values, url, noise=CAMERA, overwrite=True)
    old = pg.open(url).counts[...]

    class Breaks(Source):
        name, shape, dtype = "breaks", values.shape, values.dtype

        def read(self, start, stop):
            np.testing.assert_array_equal(pg.open(url).counts[...], old)
            if start >= 20:
                raise OSError("the cable fell out")
            return values[start:stop]

    with pytest.raises(OSError, match="cable"):
        pg.encode(Breaks(), url, noise=CAMERA, overwrite=True, chunk_frames=5)
    np.testing.assert_array_equal(pg.open(url).counts[...], old)
    assert Storage.at(url).fs.ls(os.path.dirname(Storage.at(url).root), detail=False).__len__() == 1
    pg.encode(values[:7] + 4, url, noise=CAMERA, overwrite=True, chunk_frames=3)
    movie = pg.open(url)
    assert (
        movie.shape == (7, 17, 23) and np.abs(movie[...] - pg.anscombe(values[:7] + 4, CAMERA)).max() < 0.26
    )
    assert len(Storage.at(url).names()) == 3 + 3


class FullDisk(Storage):
    """A real store whose disk is full from the n-th data file on."""

    left = 2

    def write(self, name, data, **options):
        if not name.startswith("."):
            self.left -= 1
            if self.left < 0:
                raise OSError(28, "No space left on device")
        super().write(name, data, **options)


@pytest.mark.parametrize("chunk_frames", [1, 5])
@pytest.mark.parametrize("left", [0, 2, 4])
def test_a_failure_leaves_nothing_that_opens_as_a_movie(tmp_path, left, chunk_frames):
    """The last chunks are written beside what is done after them."""
    storage = FullDisk(Storage.at(tmp_path / "m.zarr").fs, str(tmp_path / "m.zarr"))
    storage.left = left
    with pytest.raises(OSError, match="No space left"):
        pg.encode(camera_movie(), storage, noise=CAMERA, chunk_frames=chunk_frames)
    with pytest.raises(StoreNotFoundError):
        pg.open(tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()


def test_a_failure_that_cannot_clean_up_says_what_to_clean(tmp_path):
    class Stuck(FullDisk):
        def delete(self, name):
            raise PermissionError("read-only")

    storage = Stuck(Storage.at(tmp_path / "m.zarr").fs, str(tmp_path / "m.zarr"))
    with pytest.raises(OSError) as caught:
        pg.encode(camera_movie(), storage, noise=CAMERA, chunk_frames=5)
    assert (
        str(tmp_path / "m.zarr") in caught.value.__notes__[0]
        and "delete that folder" in caught.value.__notes__[0]
    )
    with pytest.raises(StoreNotFoundError, match="never finished"):
        pg.open(tmp_path / "m.zarr")
    with pytest.raises(StoreExistsError, match="killed"):
        pg.encode(camera_movie(), tmp_path / "m.zarr", noise=CAMERA)


def test_a_killed_writer_leaves_no_movie_and_the_next_is_told(tmp_path):
    code = f"""
        import os, numpy as np, photon_gpu as pg
        from photon_gpu.sources.base import Source
        class Dies(Source):
            name, shape, dtype = "dies", (50, 64, 64), np.dtype("uint16")
            def read(self, start, stop):
                if start >= 30: os.kill(os.getpid(), 9)
                return np.full((stop - start, 64, 64), 7, "uint16")
        pg.encode(Dies(), {str(tmp_path / "m.zarr")!r}, chunk_frames=5)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False)
    assert done.returncode == -9
    with pytest.raises(StoreNotFoundError):
        pg.open(tmp_path / "m.zarr")
    with pytest.raises(StoreExistsError, match="killed"):
        pg.encode(camera_movie(), tmp_path / "m.zarr", noise=CAMERA)
    pg.encode(camera_movie(), tmp_path / "m.zarr", noise=CAMERA, overwrite=True)
    assert pg.open(tmp_path / "m.zarr").shape == (25, 17, 23)


def test_of_two_writers_at_one_place_one_is_refused(tmp_path):
    values = camera_movie()
    refused = []

    class Meddles(Source):
        name, shape, dtype = "meddles", values.shape, values.dtype

        def read(self, start, stop):
            if start == 10:
                with pytest.raises(StoreExistsError) as caught:
                    pg.encode(values, tmp_path / "m.zarr", noise=CAMERA)
                refused.append(caught.value)
            return values[start:stop]

    pg.encode(Meddles(), tmp_path / "m.zarr", noise=CAMERA, chunk_frames=5)
    assert refused and pg.open(tmp_path / "m.zarr").shape == values.shape


def test_zarray_is_written_last(tmp_path):
    order = []

    class Watched(Storage):
        def write(self, name, data, **options):
            super().write(name, data, **options)
            order.extend([name] if name != MARKER else [])

        def write_in_order(self, files, others=None):
            super().write_in_order(files, others)
            order.extend(name for name, _ in files)

    pg.encode(
        camera_movie(), Watched(Storage.at(tmp_path).fs, str(tmp_path / "m")), noise=CAMERA, chunk_frames=10
    )
    assert sorted(order[:-3])[-3:] == ["0.0.0", "1.0.0", "2.0.0"]
    assert set(order[:-3]) <= {
        "0.0.0",
        "1.0.0",
        "2.0.0",
        ".manifest.json",
    }  # which lists what is whole so far
    assert order[-3:] == [".manifest.json", ".zattrs", ".zarray"]


def test_progress_counts_every_frame_once(tmp_path):
    seen = []
    pg.encode(
        camera_movie(), tmp_path / "m", noise=CAMERA, chunk_frames=4, progress=lambda *a: seen.append(a)
    )
    assert seen[-1] == (25, 25) and [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_the_report_says_what_was_done(tmp_path):
    report = pg.encode(camera_movie(), tmp_path / "m", noise=CAMERA, layout="compact")
    again = json.loads(json.dumps(report.to_dict()))
    assert again["ratio"] == report.ratio and again["layout"] == "compact" and again["noise"]["gain"] == 2.0
    assert {"read", "transform", "predict", "compress", "write", "tune"} <= set(report.stages)
    for word in ("ratio", "noise floor", "predictor", "backend"):
        assert word in str(report)
    dim = pg.encode(
        np.random.default_rng(0).poisson(1.0, (5, 8, 8)).astype("uint8"),
        tmp_path / "dim",
        noise=pg.NoiseModel(),
    )
    assert any("photons per pixel" in note for note in dim.notes)


def test_large_frames_get_fewer_per_chunk_and_the_report_says_so(tmp_path):
    class Huge(Source):
        name, shape, dtype = "huge", (20, 3000, 5000), np.dtype("uint8")

        def read(self, start, stop):
            return np.zeros((stop - start, 3000, 5000), "uint8")

    with pytest.raises(InvalidInputError, match="at most 17"):
        pg.encode(Huge(), tmp_path / "m", chunk_frames=20, noise=pg.NoiseModel())
    report = pg.encode(Huge(), tmp_path / "m", preset="fast", noise=pg.NoiseModel(), check=False)
    assert report.chunk_frames == 17 and any("17 frames, not 100" in note for note in report.notes)


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_memory_does_not_grow_with_the_movie(layout, tmp_path):
    code = f"""
        import resource, sys
        import photon_gpu as pg
        from tests.support.noise.one_camera_movies import Endless, CAMERA
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pg.encode(Endless(400), {str(tmp_path)!r} + "/short", noise=CAMERA, layout={layout!r}, preset="fast",
                  budget_bytes=60 << 20)
        short = peak()
        pg.encode(Endless(4000), {str(tmp_path)!r} + "/long", noise=CAMERA, layout={layout!r}, preset="fast",
                  budget_bytes=60 << 20)
        print(peak() - short)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    # 3600 more frames are 472 MB; what is in flight is bounded by the budget, whatever the length.
    assert int(out.stdout) < 60 << 20


def test_the_number_of_chunks_in_flight_keeps_to_the_budget(tmp_path):
    reads, writes = [], []

    class Counting(Endless):
        def read(self, start, stop):
            if stop - start > 1:  # single frames tell the movie from another, for resume
                reads.append(len(reads) - len(writes))
            return super().read(start, stop)

    class Slow(Storage):
        def write(self, name, data, **options):
            time.sleep(0.005)
            super().write(name, data, **options)
            writes.append(name)

    raw = 10 * 256 * 256 * 2
    storage = Slow(Storage.at(tmp_path).fs, str(tmp_path / "m"))
    pg.encode(
        Counting(300),
        storage,
        noise=CAMERA,
        chunk_frames=10,
        budget_bytes=2 * 3 * raw,
        workers=8,
        trust_noise=True,
        check=False,
    )
    # Two that were read to tune by, one that is encoded, and one that is compressed and being written.
    assert len(reads) >= 30 and max(reads[2:]) <= 2 + 1 + 1


def test_a_url_without_its_package_says_what_to_install(tmp_path):
    with pytest.raises(PhotonError, match="photon_gpu cannot reach|not installed"):
        pg.encode(camera_movie(), "nosuch://bucket/m.zarr", noise=CAMERA)


def test_the_thread_that_encodes_takes_no_lock_of_a_future(tmp_path):
    """An interrupt while it held one left it locked, and the worker that needed it hung for ever."""
    called = set()

    def watch(frame, event, argument):
        if event == "call" and frame.f_globals.get("__name__") == "concurrent.futures._base":
            called.add(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        pg.encode(camera_movie(), tmp_path / "m.zarr", noise=CAMERA, chunk_frames=1, check=False)
    finally:
        sys.setprofile(None)
    assert called <= {"__init__", "__enter__", "__exit__"}


def test_no_chunk_is_written_before_the_plan_is_noted(tmp_path, monkeypatch):
    order, note, write = [], Claim.note, Storage.write

    def slow(self, **facts):
        time.sleep(0.2)
        note(self, **facts)
        order.append("noted")

    def seen(self, name, data, **options):
        order.append(name)
        write(self, name, data, **options)

    monkeypatch.setattr(Claim, "note", slow)
    monkeypatch.setattr(Storage, "write", seen)
    pg.encode(
        np.ones((9, 8, 8), "uint8"), tmp_path / "m.zarr", chunk_frames=3, workers=2, noise=pg.NoiseModel()
    )
    assert order[:2] == [".photon-writing", "noted"] and sorted(order[2:]) == ["0.0.0", "1.0.0", "2.0.0"]


@pytest.fixture
def waiting_source(monkeypatch):
    """Make sources of 9 frames; after encoding, reads beyond the first chunk wait for ``ready``."""
    tuned, reader = writer.tune, threading.current_thread()

    class Waiting(ArraySource):
        encoded = False

        def __init__(self, ready):
            super().__init__(np.ones((9, 8, 8), "uint8"))
            self.ready = ready

        def read(self, start, stop):
            if Waiting.encoded and start and threading.current_thread() is reader:
                until = time.monotonic() + 30
                while not self.ready():
                    assert time.monotonic() < until
                    time.sleep(0.001)
            return super().read(start, stop)

    def tune(*arguments, **named):
        result = tuned(*arguments, **named)
        Waiting.encoded = True
        return result

    monkeypatch.setattr(writer, "tune", tune)
    return Waiting


def test_a_chunk_is_written_while_the_next_is_still_read(tmp_path, waiting_source):
    """Who reads would note the plan, and has no time to: the chunk that needs it does."""
    source = waiting_source((tmp_path / "m.zarr" / "0.0.0").exists)
    pg.encode(source, tmp_path / "m.zarr", chunk_frames=3, workers=2, noise=pg.NoiseModel())
    assert (pg.open(tmp_path / "m.zarr").counts[...] == 1).all()


@pytest.mark.parametrize("by", ["anybody", "a chunk"])
def test_a_plan_that_cannot_be_noted_is_an_error_and_no_chunk_is_written(
    tmp_path, monkeypatch, waiting_source, by
):
    threads, written, write = [], [], Storage.write

    def fails(self, **facts):
        threads.append(threading.current_thread())
        raise OSError("the disk is gone")

    def seen(self, name, data, **options):
        written.append(name)
        write(self, name, data, **options)

    monkeypatch.setattr(Claim, "note", fails)
    monkeypatch.setattr(Storage, "write", seen)
    source = waiting_source(lambda: threads or by == "anybody")
    with pytest.raises(OSError, match="the disk is gone"):
        pg.encode(source, tmp_path / "m.zarr", chunk_frames=3, workers=2, noise=pg.NoiseModel())
    assert len(threads) == 1 and not written and not (tmp_path / "m.zarr").exists()
    assert by == "anybody" or threads[0] is not threading.current_thread()


def test_progress_tells_of_frames_that_are_written(tmp_path):
    """Of the last chunks, too, which are written beside what comes after them."""
    written, told = [], []

    class Slow(Storage):
        def write(self, name, data, **options):
            time.sleep(0.02)
            super().write(name, data, **options)
            written.append(name)

    def progress(done, total):
        told.append((done, total))
        assert done <= 3 * len([name for name in written if not name.startswith(".")])

    storage = Slow(Storage.at(tmp_path).fs, str(tmp_path / "m"))
    pg.encode(camera_movie(24), storage, noise=CAMERA, chunk_frames=3, progress=progress)
    assert told == [(done, 24) for done in range(3, 25, 3)]


def test_an_error_of_progress_at_the_very_end_leaves_no_movie(tmp_path):
    def stop(done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pg.encode(camera_movie(24), tmp_path / "m", noise=CAMERA, chunk_frames=3, progress=stop)
    assert not (tmp_path / "m").exists()


class Watched(Storage):
    """Chunks take as long to write as ``during(name)`` does."""

    def __init__(self, at, during):
        super().__init__(Storage.at(at).fs, str(at))
        self._during = during

    def write(self, name, data, **options):
        if not name.startswith("."):
            self._during(name)
        super().write(name, data, **options)


def test_while_one_chunk_is_written_the_next_is_encoded_however_small_the_budget(tmp_path, monkeypatch):
    encode, begun = Compact.encode, [threading.Event() for _ in range(4)]

    def seen(self, values, chunk, resources, first_frame=0):
        begun[first_frame // 10].set()
        return encode(self, values, chunk, resources, first_frame)

    def during(name):
        following = int(name.split(".")[0]) + 1
        assert following == 4 or begun[following].wait(30)

    monkeypatch.setattr(Compact, "encode", seen)
    movie = camera_movie(40)
    pg.encode(
        movie,
        Watched(tmp_path / "m", during),
        noise=CAMERA,
        layout="compact",
        chunk_frames=10,
        budget_bytes=1,
        check=False,
    )
    assert pg.verify(tmp_path / "m", deep=True).ok


@pytest.mark.filterwarnings("ignore::photon_gpu.errors.FidelityWarning")
@pytest.mark.parametrize(("flying", "check", "most"), [(1, False, 1), (3, False, 2), (1, True, 0)])
def test_frames_are_let_go_before_they_are_written(tmp_path, monkeypatch, flying, check, most):
    """Behind a single chunk only the next one is read; a checked chunk is kept until checked."""
    alive, counts, late, tuned = set(), [], [], []
    choose, encode = compression_tuning.choose, Compact.encode
    monkeypatch.setattr(
        "photon_gpu.writer.preparation.choose", lambda *a, **k: (choose(*a, **k), tuned.append(1))[0]
    )
    monkeypatch.setattr(Compact, "encode", lambda *a, **k: (time.sleep(0.03), encode(*a, **k))[1])

    class Counted(Endless):
        def read(self, start, stop):
            time.sleep(0.005)  # for threads to let go of what they have done
            values = super().read(start, stop)
            if tuned and stop - start == 10:
                counts.append(len(alive))
                alive.add(start)
                weakref.finalize(values, alive.discard, start)
            return values

    def during(name):
        time.sleep(0.02)
        late.extend({10 * int(name.split(".")[0])} & alive)

    pg.encode(
        Counted(200),
        Watched(tmp_path / "m", during),
        noise=CAMERA,
        layout="compact",
        preset="fast",
        chunk_frames=10,
        budget_bytes=flying * 3 * 10 * 256 * 256 * 2,
        workers=8,
        check=check,
    )
    assert len(counts) >= 20 and bool(late) == check and not alive
    assert max(counts[:20]) == most


@pytest.mark.parametrize("budget_bytes", [1, 1 << 29])
def test_chunks_are_listed_once_they_are_written(tmp_path, monkeypatch, budget_bytes):
    """FORMAT.md: while an encode runs, the manifest lists those that are whole."""
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", 0.0)
    lists, write = [], Storage.write

    def seen(self, name, data, **options):
        if name == ".manifest.json":
            listed = {one for one in json.loads(data)["files"] if not one.startswith(".")}
            lists.append(listed - set(os.listdir(tmp_path / "m")))
        write(self, name, data, **options)

    monkeypatch.setattr(Storage, "write", seen)
    storage = Watched(tmp_path / "m", lambda name: time.sleep(0.005))
    pg.encode(camera_movie(40), storage, noise=CAMERA, chunk_frames=2, budget_bytes=budget_bytes)
    assert len(lists) > 5 and not any(lists)
