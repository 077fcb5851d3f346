"""A planted secret is in nothing that any command prints or writes, whether it succeeds or fails."""

import functools
import http.server
import json
import pickle
import threading
import traceback

import fsspec
import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.cli.app import COMMANDS

SECRET = "S3cr3tKEYvalue42"
GAIN = ("--gain", 100, "--offset", 90, "--variance", 900)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *what):
        pass


@pytest.fixture
def served(tmp_path_factory):
    """A folder behind HTTP with a movie in it; URLs with a password and with a signature, and a dead one."""
    folder = tmp_path_factory.mktemp("served")
    raw = np.asarray(pg.simulate(frames=40, height=32, width=32, seed=3))
    pg.encode(raw, folder / "raw.zarr", layout="lossless")
    np.save(folder / "raw.npy", raw)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        yield {
            "password": f"http://lab:{SECRET}@{host}/raw.zarr",
            "signed": f"http://{host}/raw.npy?X-Amz-Signature={SECRET}",
            "nowhere": f"http://lab:{SECRET}@{host}/none.zarr",
            "dead": f"http://lab:{SECRET}@127.0.0.1:9/raw.zarr",
        }
        server.shutdown()


def written(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    memory = fsspec.filesystem("memory")
    for name in memory.find("/"):
        yield name, memory.cat_file(name)


def test_no_command_tells_a_secret(cli, served, tmp_path):
    pytest.importorskip("aiohttp")
    src, dead = served["password"], served["dead"]
    stored, ome = (f"memory://lab:{SECRET}@host/m.{end}" for end in ("zarr", "ome.zarr"))
    store = (
        "--storage-option",
        f"secret={SECRET}",
        "--storage-option",
        f'client_kwargs={{"token": "{SECRET}"}}',
    )
    (tmp_path / "prices.json").write_text("{}")
    (tmp_path / "stores.json").write_text(json.dumps({"x": {"protocol": SECRET, "secret_key": SECRET}}))
    runs = [
        ["estimate", src],
        ["estimate", served["signed"]],
        ["choose", src, *GAIN, "--step", 0.5, "--redraws", 4],
        ["choose", served["signed"], *GAIN, "--analysis", "no:where"],
        ["encode", src, "a.zarr", *GAIN],
        ["encode", src, "a.zarr", *GAIN],  # there already
        ["encode", served["signed"], stored, *GAIN, *store, "--layout", "compact"],
        ["encode", served["signed"], stored, *GAIN, *store],
        *(["encode", src, ome, *GAIN, *store, "--layout", "compact"] for _ in range(2)),
        ["encode", src, f"memory://lab:{SECRET}@host/m.zarr", *GAIN, *store, "--container", "ome-zarr"],
        *([command, ome, *store] for command in ("verify", "info", "estimate", "recover")),
        ["repair", ome, src, *store],
        ["report", src, ome, *store],
        ["decode", ome, "out.ome.tif", *store],
        ["record", src, f"memory://lab:{SECRET}@host/live.ome.zarr", *GAIN, *store],
        ["encode", src, "b.zarr", "--gain", 1],  # contradicted by the movie
        ["encode", src, stored, "--storage-option", SECRET],
        ["report", src, "a.zarr", "-o", "r.html", "-o", "r.json"],
        ["verify", src],
        ["verify", stored, *store],
        ["repair", stored, src, *store],
        ["info", src],
        ["info", stored, *store],
        ["decode", stored, "out.npy", *store],
        ["decode", src, "out.tif"],
        ["decode", src, f"http://lab:{SECRET}@host/x.tif"],
        ["record", src, "c.zarr", *GAIN],
        ["record", src, f"memory://lab:{SECRET}@host/live.zarr", *GAIN, *store],
        ["record", f"tcp://lab:{SECRET}@127.0.0.1:9", "d.zarr", *GAIN],
        ["watch", f"http://lab:{SECRET}@host/in", "e.zarr", "--idle-seconds", 0.1],
        ["recover", stored, *store],
        ["profile", dead],
        ["cost", "--movie", src] if "--movie" in cli("cost", "--help").out else ["cost", src],
        ["doctor"],
        ["gc", "lab", "--stores-file", "stores.json"],
        ["demo", "--to", stored] if "--to" in cli("demo", "--help").out else ["demo", "--help"],
        *([command, url] for command in ("info", "verify", "estimate") for url in (dead, served["nowhere"])),
        *(["encode", url, "z.zarr"] for url in (dead, served["nowhere"], f"nonsense://a:{SECRET}@b/x.zarr")),
        ["encode", "a.zarr", f"nonsense://a:{SECRET}@b/x.zarr"],
    ]
    assert {words[0] for words in runs} >= set(COMMANDS)
    for words in runs:
        for more in ((), ("--json",), ("--debug",)):
            ran = cli(*words, *more)
            assert SECRET not in ran.out + ran.err, (words, more)
            assert words != ["info", src] or ran.code == 0, ran.err
    own = ("stores.json",)
    assert not [
        name for name, data in written(tmp_path) if SECRET.encode() in data and not name.endswith(own)
    ]


def test_no_error_warning_or_report_tells_a_secret(served, tmp_path):
    pytest.importorskip("aiohttp")
    url = served["password"]
    report = pg.encode(url, tmp_path / "m.zarr", noise=pg.NoiseModel(gain=100, offset=90, variance=900))
    with pg.open_source(url) as source:
        texts = [str(report), repr(report), json.dumps(report.to_dict()), source.name]
    texts.append(str(pg.fidelity(url, tmp_path / "m.zarr").to_dict()))
    for call in (
        lambda: pg.open(served["dead"]),
        lambda: pg.encode(served["dead"], tmp_path / "n.zarr"),
        lambda: pg.encode(url, f"nonsense://a:{SECRET}@b/m.zarr"),
        lambda: pg.verify(served["nowhere"]),
    ):
        with pytest.raises(pg.PhotonError) as caught:
            call()
        texts += [str(caught.value), "".join(traceback.format_exception_only(caught.value))]
        texts.append(str(pickle.loads(pickle.dumps(caught.value))))
    texts.append(str(pg.PhotonWarning(f"token={SECRET} was refused")))
    assert not [text for text in texts if SECRET in text]
