"""A check that fails ends with 1, names its lines, and stays with the movie."""

import json

import numpy as np
import pytest
import tifffile

import photon_gpu as pg

WRONG = ("--gain", 400, "--offset", 100)
FAILING = ["noise_model", "snr"]


@pytest.fixture
def dim(tmp_path):
    rng = np.random.default_rng(0)
    light = 4.0 + 12.0 * rng.random((32, 32))
    raw = rng.normal(100 + 20 * rng.poisson(light, (100, 32, 32)), 10).astype("int16")
    np.save(tmp_path / "dim.npy", raw)
    return raw


@pytest.mark.parametrize("check", ["on", "full", "sample"])
def test_encode_ends_with_1_and_the_movie_stays_marked(cli, dim, tmp_path, check):
    trust = ("--trust-noise",) if "--trust-noise" in cli("encode", "--help").out else ()
    ran = cli("encode", "dim.npy", "a.zarr", *WRONG, *trust, "--check", check)
    assert ran.code == 1
    assert "a.zarr fails its own check: noise_model, snr" in ran.err
    assert "FAIL" in ran.out and "Step: what it costs" in ran.out
    ran = cli("encode", "dim.npy", "a.zarr", *WRONG, *trust, "--check", check, "--overwrite", "--json")
    assert ran.code == 1 and ran.err == ""
    assert ran.json["failed"][:2] == FAILING and ran.json["passed"] is False
    assert any("fails its own check" in note for note in ran.json["notes"])
    told = cli("info", "a.zarr")
    assert told.code == 0 and "FAILED when it was stored, on noise_model, snr" in told.out
    assert list(cli("info", "a.zarr", "--json").json["failed_check"])[:2] == FAILING
    result = cli("verify", "a.zarr")
    assert result.code == 1 and "failing" in result.out and "snr" in result.out
    ran = cli("encode", "dim.npy", "a.zarr", *WRONG, *trust, "--check", "off", "--overwrite", "--json")
    assert ran.code == 0 and ran.json["passed"] is None and cli("verify", "a.zarr").code == 0


def test_encode_of_the_right_model_ends_with_0(cli, dim):
    ran = cli("encode", "dim.npy", "a.zarr", "--gain", 20, "--offset", 100, "--variance", 100, "--json")
    assert ran.code == 0 and ran.json["passed"] is True and ran.json["failed"] == []
    assert cli("info", "a.zarr", "--json").json["failed_check"] == {}


def test_record_and_watch_end_with_1(cli, dim, tmp_path):
    dim.tofile(tmp_path / "dim.raw")
    (tmp_path / "folder").mkdir()
    for n in range(2):
        tifffile.imwrite(
            tmp_path / "folder" / f"{n}.tif", dim[50 * n : 50 * n + 50], photometric="minisblack"
        )
    trust = ("--trust-noise",) if "--trust-noise" in cli("record", "--help").out else ()
    raw = ("record", "dim.raw", "--shape", "32,32", "--dtype", "int16", "--idle-seconds", 0.2)
    watch = ("watch", "folder", "--settle-seconds", 0.1, "--idle-seconds", 0.5)
    for n, (command, src, *options) in enumerate((raw, watch)):
        ran = cli(command, src, f"{n}.zarr", *options, *WRONG, *trust)
        assert ran.code == 1 and f"{n}.zarr fails its own check: noise_model, snr" in ran.err
        assert "Step: what it costs" in ran.out
        assert list(pg.open(tmp_path / f"{n}.zarr").failed_check)[:2] == FAILING
        assert cli("verify", f"{n}.zarr").code == 1
        ran = cli(command, src, f"{n}-off.zarr", *options, *WRONG, *trust, "--check", "off", "--json")
        assert ran.code == 0 and ran.json["checks"] == []
        ran = cli(command, src, f"{n}-json.zarr", *options, *WRONG, *trust, "--json")
        assert ran.code == 1 and ran.json["failed"][:2] == FAILING
        good = ("--gain", 20, "--offset", 100, "--variance", 100)
        ran = cli(command, src, f"{n}-good.zarr", *options, *good, "--json")
        assert ran.code == 0 and ran.json["failed"] == [] and ran.json["checks"]
    assert cli("record", "dim.raw", "x.zarr", "--check", "full").code == 2


def test_a_verdict_is_json_of_a_few_keys(cli, dim, tmp_path):
    trust = ("--trust-noise",) if "--trust-noise" in cli("encode", "--help").out else ()
    cli("encode", "dim.npy", "a.zarr", *WRONG, *trust)
    kept = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())["fidelity_check"]
    assert set(kept) == {"verdict", "failed"}
    assert all(set(line) == {"name", "value", "unit", "fail_above", "found"} for line in kept["failed"])
