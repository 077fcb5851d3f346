"""``photon-gpu encode``: what is stored, what is said, and every bad input refused with nothing written."""

import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
from tests.support.folder_contents import tree
from tests.support.noise.processing import processed
from tests.support.noise.simulated_recordings import raw


def test_a_tiff_goes_in_and_its_counts_come_back(cli, counts, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", counts * 100 + 90, photometric="minisblack")
    ran = cli("encode", "a.tif", "a.zarr", "--gain", 100, "--offset", 90, "--variance", 25, "--step", 0.4)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    movie = pg.open(tmp_path / "a.zarr")
    assert movie.noise == pg.NoiseModel(gain=100, offset=90, variance=25)
    assert (movie.step, movie.layout, movie.shape) == (0.4, "plain", counts.shape)
    assert abs(movie[...] - pg.anscombe(counts * 100.0 + 90, movie.noise)).max() <= 0.2 + 1e-9
    assert "ratio" in ran.out
    assert "30 x 16 x 12 uint16" in ran.out


def test_json_is_the_report_and_nothing_else(cli, stored):
    ran = cli("encode", "ok.npy", "b.zarr", "--gain", 1, "--layout", "compact", "--json")
    told = ran.json
    assert ran.out.count("\n") == 1
    assert ran.err == ""
    files = [path.stat().st_size for path in (stored.parent / "b.zarr").iterdir()]
    assert told["stored_bytes"] == sum(files)
    assert told["ratio"] == told["raw_bytes"] / told["stored_bytes"]
    assert told["noise"] == {"gain": 1.0, "offset": 0.0, "variance": 0.0}
    assert told["shape"] == [30, 16, 12]
    assert told["notes"] == []


def test_every_option_reaches_the_store(cli, stored):
    words = [
        "--gain",
        2,
        "--offset",
        "-5",
        "--variance",
        1.5,
        "--step",
        1,
        "--layout",
        "compact",
        "--preset",
        "fast",
        "--predictor",
        "mean",
        "--compressor",
        "zstd-3-bitshuffle",
        "--dither",
        7,
        "--chunk-frames",
        4,
        "--backend",
        "numpy",
        "--workers",
        1,
        "--check",
        "off",
    ]
    ran = cli("encode", "ok.npy", "all.zarr", *words, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["backend"] == "numpy"
    assert (ran.json["workers"], ran.json["preset"], ran.json["notes"]) == (1, "fast", [])
    movie = pg.open(stored.parent / "all.zarr")
    assert movie.noise == pg.NoiseModel(gain=2, offset=-5, variance=1.5)
    assert (movie.step, movie.chunks[0], movie.encoding.dither) == (1.0, 4, 7)
    assert movie.encoding.predictor.name == "mean"
    assert movie.encoding.compressor == pg.Compressor(cname="zstd", clevel=3, shuffle=2, blocksize=0)


def test_what_is_inside_of_a_file_is_named_by_a_source_option(cli, counts, tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = counts, counts + 1
    refused = cli("encode", "two.h5", "h.zarr", "--gain", 1)
    assert refused.code == 2
    assert "choose one by --dataset NAME" in refused.err
    assert (
        cli(
            "encode", "two.h5", "h.zarr", "--gain", 1, "--source-option", "dataset=/b", "--layout", "lossless"
        ).code
        == 0
    )
    assert (pg.open(tmp_path / "h.zarr").counts[...] == counts + 1).all()


def test_urls_take_storage_options(cli, stored):
    pg.open(stored)
    ran = cli(
        "encode", "ok.npy", "memory://cli/there.zarr", "--gain", 1, "--storage-option", "anon=true", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["notes"] == []
    assert cli("info", "memory://cli/there.zarr", "--json").json["ratio"] == ran.json["ratio"]
    wrong = cli("encode", "ok.npy", "memory://cli/b.zarr", "--storage-option", "anon")
    assert wrong.code == 2
    assert "KEY=VALUE" in wrong.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layout", "lossless", "--step", 1], "--step had no effect"),
        (["--layout", "lossless", "--dither", 1], "--dither had no effect"),
        (["--gain", 1, "--storage-option", "a=b"], "--storage-option had no effect"),
        (["--gain", 1, "--chunk-frames", 99], "--chunk-frames 99 became 30"),
    ],
)
def test_an_option_without_effect_is_said(words, message, cli, stored):
    told = cli("encode", "ok.npy", "n.zarr", *words, "--json").json
    assert [message in note for note in told["notes"]] == [True]
    shown = cli("encode", "ok.npy", "n.zarr", *words, "--overwrite")
    assert message in " ".join(shown.out.split())


def test_a_step_that_exact_values_make_idle_is_said(cli, tmp_path):
    np.save(tmp_path / "dark.npy", np.random.default_rng(1).poisson(0.02, (30, 32, 32)).astype("uint8"))
    told = cli(
        "encode",
        "dark.npy",
        "d.zarr",
        "--gain",
        0.05,
        "--layout",
        "compact",
        "--step",
        0.1,
        "--check",
        "off",
        "--json",
    ).json
    assert told["exact"]
    assert [note.startswith("--step had no effect") for note in told["notes"]] == [True]


def test_warnings_go_to_stderr_or_into_the_notes(cli, counts, tmp_path):
    array = zarr.create_array(
        tmp_path / "raw.zarr", shape=counts.shape, dtype="u2", chunks=(10, 16, 12), zarr_format=2
    )
    array[...] = counts
    (tmp_path / "raw.zarr" / "1.0.0").unlink()
    options = ("--gain", 1, "--check", "off", "--source-option", "missing=zero")
    shown = cli("encode", "raw.zarr", "w.zarr", *options)
    assert shown.code == 0
    assert shown.err.startswith("warning: raw.zarr: the source lacks frames 10 to 19")
    assert shown.err.count("\n") == 1
    told = cli("encode", "raw.zarr", "w2.zarr", *options, "--json")
    assert told.err == ""
    assert shown.err.removeprefix("warning: ").strip() in told.json["notes"]


def _damaged(counts, folder):
    """Every kind of movie that must be refused, by file name."""
    pixel = (25, 3, 4)
    floats = counts.astype("float32")
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        floats[pixel] = value
        np.save(folder / f"{name}.npy", floats)
    negative = counts.astype("int16")
    negative[pixel] = -5
    np.save(folder / "negative.npy", negative)
    np.save(folder / "empty.npy", counts[:0])
    np.save(folder / "line.npy", counts[0, 0])
    np.save(folder / "image.npy", counts[0])
    np.save(folder / "complex.npy", counts + 1j)
    np.save(folder / "bool.npy", counts > 3)
    np.save(folder / "object.npy", counts.astype(object), allow_pickle=True)
    np.save(folder / "good.npy", counts)
    tifffile.imwrite(folder / "whole.tif", counts, photometric="minisblack")
    whole = (folder / "whole.tif").read_bytes()
    (folder / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "garbage.tif").write_bytes(b"hello" * 99)
    (folder / "notes.txt").write_text("hello")
    (folder / "taken").mkdir()
    (folder / "taken" / "raw.tif").write_bytes(whole)
    pg.encode(counts, folder / "movie.zarr", noise=pg.NoiseModel())


_GOOD = ["encode", "good.npy", "new/place/out.zarr"]


@pytest.mark.parametrize(
    ("words", "code", "messages"),
    [
        (["encode", "empty.npy", "out.zarr"], 2, ["empty", "(0, 16, 12)", "at least 1"]),
        (["encode", "line.npy", "out.zarr"], 2, ["1-D data of shape (12,)", "(T, ..., H, W)"]),
        (["encode", "image.npy", "out.zarr"], 2, ["(16, 12)", "add the time axis"]),
        (["encode", "complex.npy", "out.zarr"], 2, ["complex128", "uint16"]),
        (["encode", "bool.npy", "out.zarr"], 2, ["bool", "uint8"]),
        (["encode", "object.npy", "out.zarr"], 2, ["object", "float32"]),
        (["encode", "nan.npy", "new/out.zarr", "--gain", 1], 2, ["nan at frame 25, pixel (3, 4)", "finite"]),
        (["encode", "inf.npy", "new/out.zarr", "--gain", 1], 2, ["inf at frame 25, pixel (3, 4)", "finite"]),
        (
            ["encode", "negative.npy", "new/out.zarr", "--gain", 1],
            2,
            ["-5 at frame 25", "--offset <value in the dark>"],
        ),
        (["encode", "truncated.tif", "out.zarr"], 1, ["truncated after 20 whole frames"]),
        (["encode", "garbage.tif", "out.zarr"], 1, ["b'hell'", "TIFF begins with"]),
        (["encode", "notes.txt", "out.zarr"], 2, ["not supported", ".tif"]),
        (["encode", "nothing.tif", "out.zarr"], 2, ["no such file"]),
        (["encode", "movie.zarr", "out.zarr"], 2, ["photon movie already", "photon-gpu decode"]),
        (_GOOD, 2, ["cannot be modelled", "precision: gain", "--gain ... --offset", "--layout lossless"]),
        ([*_GOOD, "--offset", "-3"], 2, ["--offset cannot be used without --gain", "none of the three"]),
        ([*_GOOD, "--gain", "0"], 2, ["gain is 0.0", "positive"]),
        ([*_GOOD, "--gain", "-2"], 2, ["gain is -2.0", "positive"]),
        ([*_GOOD, "--gain", "nan"], 2, ["gain is nan", "finite"]),
        ([*_GOOD, "--gain", 1, "--variance", "-1"], 2, ["variance is -1.0", "0 or more"]),
        ([*_GOOD, "--step", "0"], 2, ["step is 0.0", "0.01 to 16"]),
        ([*_GOOD, "--step", "-1"], 2, ["step is -1.0", "0.01 to 16"]),
        ([*_GOOD, "--step", "1e9"], 2, ["step is 1000000000.0", "0.01 to 16"]),
        ([*_GOOD, "--step", "nan"], 2, ["step is nan", "0.01 to 16"]),
        ([*_GOOD, "--chunk-frames", "0"], 2, ["--chunk-frames is 0", "at least 1"]),
        ([*_GOOD, "--workers", "0"], 2, ["workers is 0", "1 to 1024"]),
        ([*_GOOD, "--dither", "-1"], 2, ["dither is -1", "seed"]),
        ([*_GOOD, "--layout", "dense"], 2, ["'dense'", "plain, compact, lossless"]),
        ([*_GOOD, "--preset", "best"], 2, ["'best'", "fast, balanced, small"]),
        ([*_GOOD, "--predictor", "oracle"], 2, ["'oracle'", "none, mean, past, full, spatial"]),
        ([*_GOOD, "--predictor", "mean"], 2, ["'plain' does not predict", "--predictor", "--layout compact"]),
        ([*_GOOD, "--compressor", "gzip"], 2, ["'gzip'", "zstd-5-bitshuffle"]),
        ([*_GOOD, "--backend", "tpu"], 2, ["'tpu'", "numba"]),
        ([*_GOOD, "--source-option", "colour=red"], 2, ["'colour'", "NumPy"]),
        (["encode", "good.npy", "movie.zarr"], 2, ["exists and holds a movie", "--overwrite"]),
        (["encode", "good.npy", "taken"], 2, ["holds 1 files", "another name"]),
        (["encode", "good.npy", "taken", "--overwrite"], 2, ["'raw.tif'", "only movies are replaced"]),
        (["encode", "good.npy", ".", "--overwrite"], 2, ["only movies are replaced"]),
        (["encode", "good.npy", "good.npy", "--overwrite"], 2, ["the name of a file", "such as movie.zarr"]),
        (["encode", "good.npy", "notes.txt", "--overwrite"], 2, ["is a file", "another name"]),
        (["encode", "good.npy", "notes.txt/out.zarr"], 2, ["is a file", "another name"]),
        (["encode", "good.npy", ""], 2, ["a path or a URL is needed"]),
        (["encode", "good.npy", "ftpx://host/x"], 2, ["photon_gpu cannot reach"]),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(words, code, messages, cli, counts, tmp_path):
    _damaged(counts, tmp_path)
    before = tree(tmp_path)
    ran = cli(*words)
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert all(part in ran.err for part in messages), ran.err
    told = cli(*words, "--json")
    assert (told.code, told.out) == (code, "")
    error = json.loads(told.err)
    assert set(error) == {"error", "kind"}
    assert "error: " + error["error"] == ran.err.strip()
    assert tree(tmp_path) == before


def test_a_full_disk_is_one_line_and_code_1(cli, stored, monkeypatch):
    write = pg.Storage.write

    def full(self, name, data, **options):
        if not name.startswith("."):
            raise OSError(28, "No space left on device", name)
        write(self, name, data, **options)

    monkeypatch.setattr(pg.Storage, "write", full)
    before = tree(stored.parent)
    ran = cli("encode", "ok.npy", "made/out.zarr", "--gain", 1)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: No space left on device: 0.0.0\n"
    assert tree(stored.parent) == before


def test_a_zarr_movie_is_never_overwritten_by_its_own_encoding(cli, counts, tmp_path):
    array = zarr.create_array(
        tmp_path / "raw.zarr", shape=counts.shape, dtype="u2", chunks=(10, 16, 12), zarr_format=2
    )
    array[...] = counts
    before = tree(tmp_path)
    for name in ("raw.zarr", "../" + tmp_path.name + "/raw.zarr/"):
        ran = cli("encode", "raw.zarr", name, "--gain", 1, "--overwrite")
        assert (ran.code, "the movie that is read" in ran.err) == (2, True)
    assert tree(tmp_path) == before


def test_resume_goes_on_where_an_encode_was_killed(cli, counts, tmp_path):
    """Killed after its first listing; the same command with --resume keeps what was whole."""
    np.save(tmp_path / "raw.npy", np.tile(counts, (100, 8, 8)))
    words = [
        "encode",
        "raw.npy",
        "m.zarr",
        "--gain",
        "1",
        "--trust-noise",
        "--preset",
        "fast",
        "--chunk-frames",
        "10",
    ]
    ran = subprocess.Popen(
        [sys.executable, "-m", "photon_gpu", *words], stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    while len(list(tmp_path.glob("m.zarr/*.0.0"))) < 20 and ran.poll() is None:
        time.sleep(0.002)
    ran.kill()
    ran.wait()
    there = {path.name: path.stat().st_ino for path in tmp_path.glob("m.zarr/*.0.0")}
    assert ran.returncode == -9 and len(there) >= 20
    assert cli(*words).code == 2
    done = cli(*words, "--resume")
    assert done.code == 0, done.err
    assert {path.name: path.stat().st_ino for path in tmp_path.glob("m.zarr/*.0.0")}.items() >= there.items()
    assert pg.verify(tmp_path / "m.zarr", deep=True).ok


def test_frames_that_the_source_lacks_are_told(cli, tmp_path):
    tiff = tmp_path / "holes.tif"
    frames = np.random.default_rng(0).poisson(40, (30, 32, 32)).astype("uint16")
    tifffile.imwrite(tiff, frames, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tiff, mode="r+") as tif:
        for frame in range(20, 24):
            tif.pages[frame].tags["StripOffsets"].overwrite(0)
    ran = cli("encode", tiff, "m.zarr", "--layout", "lossless")
    assert ran.code == 1 and "--source-option missing=zero" in ran.err
    ran = cli("encode", tiff, "m.zarr", "--layout", "lossless", "--source-option", "missing=zero", "--json")
    assert ran.code == 0 and any("lacks frames 20 to 23" in note for note in ran.json["notes"])
    ran = cli("verify", "m.zarr")
    assert ran.code == 1 and "loses frames 20 to 23" in ran.out


def test_a_model_that_the_movie_contradicts_is_refused_in_the_words_of_the_shell(cli, tmp_path):
    rng = np.random.default_rng(1)
    light = 30 * np.exp(rng.normal(0, 1, (32, 32)))
    photons = rng.poisson(light, (60, 32, 32)) + rng.normal(0, 2, (60, 32, 32))  # as read by a camera
    np.save(tmp_path / "ccd.npy", np.rint(1000 + 0.667 * photons).astype("uint16"))
    refused = cli("encode", "ccd.npy", "ccd.zarr", "--gain", 1)
    assert refused.code == 2 and "contradict it: at" in refused.err and "not 2.1%" in refused.err
    assert "Leave out --gain to have it measured, or give --trust-noise to keep it" in refused.err
    assert not (tmp_path / "ccd.zarr").exists()
    assert cli("encode", "ccd.npy", "ccd.zarr", "--gain", 1, "--trust-noise", "--check", "off").code == 0
    assert cli("encode", "ccd.npy", "measured.zarr").code == 0
    assert pg.open(tmp_path / "measured.zarr").noise.gain == pytest.approx(0.667, rel=0.1)


def test_processed_data_are_an_error_unless_accepted(cli, tmp_path):
    frames = raw(2000, detector="ccd", gain=20.0, photons=15.0, trouble="still", frames=96).frames
    np.save(tmp_path / "stretched.npy", processed("stretch per frame", frames, 0))
    ran = cli("encode", "stretched.npy", "m.zarr")
    assert ran.code == 2 and "stretched frames" in ran.err and "--accept-processed" in ran.err
    assert not (tmp_path / "m.zarr").exists()
    assert cli("encode", "stretched.npy", "m.zarr", "--accept-processed", "--check", "off").code == 0
    assert json.loads((tmp_path / "m.zarr" / ".zattrs").read_text())["accepted_processed"] == [
        "stretched frames"
    ]
