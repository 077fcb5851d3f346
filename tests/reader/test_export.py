"""Export: exactly the movie's values in every format and shape, in little memory, whole or not at all."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError, StoreExistsError
from photon_gpu.reader.export import _CLASSIC_TIFF_BYTES, ExportReport, _is_big, export
from photon_gpu.reader.exporters.frames_to_export import ExportJob

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
SHAPES = (
    (1, 5, 7),
    (5, 1, 4),
    (5, 4, 3),
    (5, 3, 2),
    (4, 2, 5, 3),
    (1, 1, 4, 4),
    (2, 3, 2, 5, 6),
    (3, 4, 4, 3),
)


def load(path):
    if path.suffix == ".npy":
        return np.load(path)
    return zarr.open(path, mode="r")[...] if path.suffix == ".zarr" else tifffile.imread(path)


def movie_of(values, folder, **options):
    url = folder / "movie.zarr"
    pg.encode(values, url, layout="lossless", noise=pg.NoiseModel(), overwrite=True, **options)
    return pg.open(url)


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".zarr"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_out_bit_for_bit(suffix, dtype, tmp_path):
    values = np.random.default_rng(0).integers(0, 120, (7, 6, 5)).astype(dtype)
    out = tmp_path / f"out{suffix}"
    report = export(movie_of(values, tmp_path, chunk_frames=3), out)
    result = load(out)
    assert result.dtype == values.dtype
    assert np.array_equal(result, values)
    assert (report.dtype, report.shape, report.raw_bytes) == (dtype, values.shape, values.nbytes)


@pytest.mark.parametrize("suffix", [".tif", ".btf", ".npy", ".zarr"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_comes_out_and_goes_in_again(suffix, shape, tmp_path):
    values = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    out = tmp_path / f"out{suffix}"
    export(movie_of(values, tmp_path, chunk_frames=2), out)
    if suffix in (".npy", ".zarr"):
        assert load(out).shape == shape
    with pg.open_source(out) as source:
        assert source.shape == shape
        assert np.array_equal(source.read(0, shape[0]), values)


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
@pytest.mark.parametrize("suffix", [".tif", ".npy", ".zarr"])
def test_ranges_that_cut_chunks(layout, suffix, tmp_path):
    values = np.random.default_rng(1).poisson(30, (20, 6, 5)).astype("uint16")
    pg.encode(values, tmp_path / "m.zarr", layout=layout, noise=pg.NoiseModel(), chunk_frames=6)
    movie = pg.open(tmp_path / "m.zarr")
    for first, end in ((0, 20), (5, 7), (6, 12), (19, 20), (3, 20)):
        out = tmp_path / f"{first}-{end}{suffix}"
        report = export(movie, out, frames=(first, end), stabilized=True)
        assert np.array_equal(load(out).reshape(-1, 6, 5), movie[first:end])
        assert report.frames == (first, end)


def test_frames_one_pixel_wide(tmp_path):
    movie = movie_of(np.arange(42, dtype="uint16").reshape(7, 6, 1), tmp_path)
    with pytest.raises(InvalidInputError, match="one pixel wide"):
        export(movie, tmp_path / "o.tif")
    assert os.listdir(tmp_path) == ["movie.zarr"]
    for suffix in (".npy", ".zarr"):
        export(movie, tmp_path / f"o{suffix}")
        assert np.array_equal(load(tmp_path / f"o{suffix}"), movie.counts[...])


def test_progress_counts_every_frame_once(tmp_path):
    seen = []
    movie = movie_of(np.zeros((10, 4, 4), "uint8"), tmp_path, chunk_frames=4)
    export(movie, tmp_path / "o.npy", frames=(3, 10), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 7), (5, 7), (7, 7)]


def test_a_tiff_that_would_not_fit_is_a_bigtiff(tmp_path):
    movie = movie_of(np.zeros((2, 4, 4), "uint16"), tmp_path)
    job = ExportJob(movie, np.dtype("uint16"), np.dtype("uint16"), 0, 2, None)
    assert not _is_big(job, ".tif")
    job.nbytes = _CLASSIC_TIFF_BYTES
    assert _is_big(job, ".tif")
    for suffix, signature in ((".tif", b"II*\0"), (".btf", b"II+\0")):
        export(movie, tmp_path / f"o{suffix}")
        assert (tmp_path / f"o{suffix}").read_bytes()[:4] == signature


def test_a_plain_zarr_needs_nothing_of_ours(tmp_path):
    values = np.random.default_rng(1).poisson(30, (20, 6, 5)).astype("int16")
    export(movie_of(values, tmp_path), tmp_path / "o.zarr")
    program = (
        "import sys, zarr\nz = zarr.open(sys.argv[1], mode='r')\nprint(z.dtype, z.shape, int(z[...].sum()))\n"
        "assert not any(name.startswith('photon_gpu') for name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "o.zarr")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"int16 (20, 6, 5) {values.sum(dtype=int)}\n", done.stderr


def test_a_zarr_may_lie_behind_a_url(tmp_path):
    values = np.arange(96, dtype="uint16").reshape(6, 4, 4)
    report = export(movie_of(values, tmp_path), "memory://exported/o.zarr", overwrite=True)
    with pg.open_source("memory://exported/o.zarr") as source:
        assert np.array_equal(source.read(0, 6), values)
    assert report.url == "memory:///exported/o.zarr"


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".zarr"])
def test_nothing_is_overwritten_unasked_and_the_old_stays_until_the_new_is_whole(suffix, tmp_path):
    out = tmp_path / f"o{suffix}"
    movie = movie_of(np.ones((9, 4, 4), "uint8"), tmp_path, chunk_frames=3)
    export(movie, out)
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        export(movie, out)
    (tmp_path / "movie.zarr" / "2.0.0").unlink()
    names = sorted(os.listdir(tmp_path))
    with pytest.raises(pg.PhotonError, match="missing"):
        export(pg.open(tmp_path / "movie.zarr"), out, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == names
    assert load(out).shape == (9, 4, 4)
    export(movie_of(np.full((2, 4, 4), 7, "uint8"), tmp_path), out, overwrite=True)
    assert load(out).shape == (2, 4, 4)


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path):
    out = tmp_path / "o.npy"
    movie = movie_of(np.ones((9, 4, 4), "uint8"), tmp_path, chunk_frames=3)
    with pytest.raises(StoreExistsError):
        export(movie, out, progress=lambda done, total: out.write_text("somebody's"))
    assert out.read_text() == "somebody's"
    assert sorted(os.listdir(tmp_path)) == ["movie.zarr", "o.npy"]


@pytest.mark.parametrize(
    ("name", "frames", "words"),
    [
        ("o.png", None, "'.png'"),
        ("o", None, "no suffix"),
        ("none/o.tif", None, "no folder"),
        ("o.npy", (0, 10), "the movie has 9"),
        ("o.npy", (-1, 5), "the movie has 9"),
        ("o.npy", (5, 5), "the movie has 9"),
        ("movie.zarr", None, "the movie that is read"),
    ],
)
def test_bad_requests_are_refused_and_nothing_is_written(name, frames, words, tmp_path):
    movie = movie_of(np.ones((9, 4, 4), "uint8"), tmp_path)
    with pytest.raises(InvalidInputError, match=words):
        export(movie, tmp_path / name, frames=frames, overwrite=True)
    assert os.listdir(tmp_path) == ["movie.zarr"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    movie_of(np.random.default_rng(0).poisson(9, (64, 64, 64)).astype("uint8"), tmp_path, chunk_frames=8)
    for suffix in (".npy", ".tif", ".zarr"):
        program = (
            "import sys, signal, resource, photon_gpu as pg\nfrom photon_gpu.reader.export import export\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # then write() fails as on a full disk
            "movie = pg.open(sys.argv[1])\nmovie.counts[0]\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))\n"
            "try: export(movie, sys.argv[2], stabilized=True)\n"
            "except (OSError, pg.PhotonError) as error: print(error)"
        )
        # Large enough for what is kept beside, too small for the file (or a chunk of the .zarr).
        limit = 900 if suffix == ".zarr" else 300_000
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                program,
                str(tmp_path / "movie.zarr"),
                str(tmp_path / f"o{suffix}"),
                str(limit),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ("File too large" in done.stdout) or ("is the disk full?" in done.stdout), done
        assert os.listdir(tmp_path) == ["movie.zarr"]


def test_memory_does_not_grow_with_the_movie(tmp_path):
    """Peak memory of a process that exports 20 and then 160 MB, 2 MB per chunk."""
    program = (
        "import sys, resource, photon_gpu as pg\nfrom photon_gpu.reader.export import export\n"
        "movie = pg.open(sys.argv[1])\npeaks = []\n"
        "for end in (80, 640):\n"
        "    export(movie, sys.argv[2], frames=(0, end), overwrite=True)\n"
        "    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(peaks[1] - peaks[0])"
    )
    values = np.lib.format.open_memmap(tmp_path / "raw.npy", "w+", "uint16", (640, 128, 1024))
    values.flush()
    pg.encode(tmp_path / "raw.npy", tmp_path / "m.zarr", layout="lossless", chunk_frames=8)
    for name in ("o.npy", "o.tif"):
        words = [sys.executable, "-c", program, str(tmp_path / "m.zarr"), str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        kilobytes = int(done.stdout) * (1 if sys.platform != "darwin" else 1 / 1024)
        assert kilobytes < 40_000, done.stderr  # the movie is 168 MB


def test_the_report_survives_json_and_says_what_was_done(tmp_path):
    import json

    movie = movie_of(np.ones((9, 4, 4), "uint8"), tmp_path)
    report = export(movie, tmp_path / "o.npy")
    assert isinstance(report, ExportReport)
    told = json.loads(json.dumps(report.to_dict()))
    assert (told["format"], told["what"], told["unit"]) == ("NumPy", "counts", "ADU")
    assert told["stored_bytes"] == (tmp_path / "o.npy").stat().st_size
    assert "9 x 4 x 4 uint8" in str(report)


def test_a_zarr_array_says_all_that_is_known_and_is_read_again_with_it(tmp_path):
    counts = np.random.default_rng(2).poisson(30.0, (20, 2, 8, 8)).astype("uint16")
    metadata = {"axes": "TCYX", "Channel": {"Name": ["green", "red"]}, "PhysicalSizeX": 0.5}
    tifffile.imwrite(tmp_path / "raw.ome.tif", counts, metadata=metadata)
    times = np.arange(20) / 4
    pg.encode(tmp_path / "raw.ome.tif", tmp_path / "movie.zarr", layout="lossless", timestamps=times)
    movie = pg.open(tmp_path / "movie.zarr")
    export(movie, tmp_path / "back.zarr", frames=(4, 10))
    array = zarr.open_array(tmp_path / "back.zarr", mode="r")
    np.testing.assert_array_equal(array[...], counts[4:10])
    assert array.attrs["_ARRAY_DIMENSIONS"] == list("tcyx") and array.attrs["unit"] == "ADU"
    with pg.open_source(tmp_path / "back.zarr") as again:
        result = again.recording
    assert (result.axes, result.channel_names) == ("tcyx", ("green", "red"))
    assert result.pixel_size == movie.pixel_size and result.documents == movie.recording.documents
    np.testing.assert_array_equal(result.timestamps, times[4:10])
