"""``verify``, ``repair``, ``report`` and ``encode --check`` from a shell."""

import json

import numpy as np
import pytest

import photon_gpu as pg
from tests.support import servers


@pytest.fixture
def cells(cli, tmp_path):
    movie = pg.simulate(frames=60, height=48, width=48, seed=3)
    np.save(tmp_path / "cells.npy", np.asarray(movie))
    ran = cli("encode", "cells.npy", "cells.zarr", "--gain", 100, "--offset", 90, "--variance", 900)
    assert ran.code == 0, ran.err
    assert "every chunk read back" in ran.out  # checked unless told otherwise
    return tmp_path / "cells.zarr"


def test_verify_whole_and_damaged(cli, stored):
    ran = cli("verify", "ok.zarr")
    assert ran.code == 0 and "whole: every file is what was written" in ran.out and ran.err == ""
    (stored / "1.0.0").write_bytes(b"x")
    ran = cli("verify", "ok.zarr", "--deep")
    assert ran.code == 1 and "truncated" in ran.out and "lost: 10 of 30 frames: 10 to 19" in ran.out
    ran = cli("verify", "ok.zarr", "--json")
    assert ran.code == 1 and ran.json["lost"] == [[10, 19]] and ran.json["ok"] is False
    ran = cli("verify", "nowhere.zarr")
    assert ran.code == 2 and ran.err.count("\n") == 1


def test_repair_restores_a_missing_chunk_from_the_source(cli, stored):
    whole = (stored / "1.0.0").read_bytes()
    (stored / "1.0.0").unlink()
    ran = cli("repair", "ok.zarr")
    assert ran.code == 1 and "only the source" in ran.out and not (stored / "1.0.0").exists()
    ran = cli("repair", "ok.zarr", "ok.npy", "--json")
    assert ran.code == 0 and ran.json["restored"][0]["name"] == "1.0.0"
    assert (stored / "1.0.0").read_bytes() == whole


def test_a_report_is_shown_and_saved(cli, cells, tmp_path):
    ran = cli("report", "cells.npy", "cells.zarr", "-o", "r.html", "--out", "r.png", "--full")
    assert ran.code == 0 and ran.out.startswith("PASS") and "saved r.html" in ran.out
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (tmp_path / "r.html").read_text()
    ran = cli("report", "cells.npy", "cells.zarr", "-o", "r.json", "--json")
    assert ran.json["verdict"] == "PASS" and ran.json["saved"] == ["r.json"]
    assert json.loads((tmp_path / "r.json").read_text())["lines"]
    ran = cli("report", "cells.npy", "cells.zarr", "-o", "r.pdf")
    assert ran.code == 2 and ".html, .png and .json" in ran.err
    np.save(tmp_path / "other.npy", np.load(tmp_path / "cells.npy")[::-1])
    ran = cli("report", "other.npy", "cells.zarr")
    assert ran.code == 1 and ran.out.startswith("FAIL")


def test_encode_checks_and_deletes_only_after_a_full_check(cli, cells, tmp_path):
    model = ("--gain", 100, "--offset", 90, "--variance", 900)
    ran = cli("encode", "cells.npy", "b.zarr", *model, "--delete-source")
    assert ran.code == 2 and "--check full" in ran.err and (tmp_path / "cells.npy").exists()
    ran = cli("encode", "cells.npy", "b.zarr", *model, "--check", "maybe")
    assert ran.code == 2 and "off, on, full" in ran.err
    ran = cli("encode", "cells.npy", "b.zarr", *model, "--check", "off", "--json")
    assert ran.code == 0 and ran.json["checked"] == ""
    ran = cli("encode", "cells.npy", "c.zarr", *model, "--check", "full", "--delete-source", "--json")
    assert ran.code == 0 and not (tmp_path / "cells.npy").exists()
    assert "every pixel compared with the source" in ran.json["checked"]


def test_verify_and_repair_on_a_real_s3_server(cli, stored, tmp_path):
    """Files are read at once, counted, named by the server's own 404, and written back."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with servers.moto(tmp_path) as endpoint:
        reach = {"client_kwargs": {"endpoint_url": f"http://{endpoint}"}, "key": "a", "secret": "b"}
        url = "s3://imaging/trust/movie.zarr"
        pg.encode(
            np.load("ok.npy"), url, chunk_frames=1, storage_options=reach, check="full", noise=pg.NoiseModel()
        )
        seen = []
        verification = pg.verify(
            url, deep=True, storage_options=reach, progress=lambda *done: seen.append(done)
        )
        assert verification.ok and seen == [(n, 30) for n in range(1, 31)]
        store = pg.Storage.at(url, reach)
        store.delete("7.0.0")
        store.write("9.0.0", store.read("9.0.0")[:-1] + b"x")
        words = [f"{k}={json.dumps(v) if isinstance(v, dict) else v}" for k, v in reach.items()]
        options = [word for pair in words for word in ("--storage-option", pair)]
        ran = cli("verify", url, *options, "--json")
        assert ran.code == 1, ran.err
        assert ran.json["lost"] == [[7, 7], [9, 9]]
        assert [p["kind"] for p in ran.json["problems"]] == ["missing", "altered"]
        ran = cli("repair", url, "ok.npy", *options, "--json")
        assert ran.code == 0 and {r["name"] for r in ran.json["restored"]} == {"7.0.0", "9.0.0"}
