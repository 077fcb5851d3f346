"""``photon-gpu gc`` and ``photon-gpu demo --datajoint``, as typed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.support import servers
from tests.support.dj.movies import RECORDING, check_rows, decoded, files, poisson
from tests.support.dj.tables import declare


@pytest.fixture
def typed(database, dj):
    def run(*arguments):
        environment = {**database, "DJ_STORES": json.dumps({"imaging": dj.config.stores["imaging"]})}
        return subprocess.run(
            [sys.executable, "-m", "photon_gpu", *arguments],
            env=servers.environment(environment),
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run


def test_gc_deletes_what_no_row_refers_to(dj, schema, store, typed):
    backend = store()
    table = declare(schema, RECORDING)
    for i in (1, 2):
        table.insert1({"recording_id": i, "movie": poisson(i)})
    (table & "recording_id = 1").delete()
    dry = typed("gc", schema.database, "--grace-hours", "0", "--json")
    assert dry.returncode == 0, dry.stderr
    (movie,) = json.loads(dry.stdout)["unreferenced"]
    assert (movie["status"], movie["path"]) == (
        "orphan",
        f"{schema.database}/recording/recording_id=1/movie.zarr",
    )
    assert len(files(backend)) == 12
    young = typed("gc", schema.database, "--delete")
    assert "1 in use, 0 deleted (0.00 MiB), 1 kept, 0 failed" in young.stdout
    done = typed("gc", schema.database, "--grace-hours", "0", "--delete")
    assert "1 in use, 1 deleted" in done.stdout
    assert len(files(backend)) == 6
    check_rows(table, {2: poisson(2)})


def test_gc_with_a_file_of_stores(schema, store, typed, tmp_path):
    store()
    (tmp_path / "more").mkdir()
    movie_folder = tmp_path / "more" / schema.database / "recording" / "i=1" / "movie.zarr"
    movie_folder.mkdir(parents=True)
    (movie_folder / ".photon-writing").write_text("{}")
    declare(schema, RECORDING)
    stores = tmp_path / "stores.json"
    stores.write_text(json.dumps({"more": {"protocol": "file", "location": str(tmp_path / "more")}}))
    ran = typed("gc", schema.database, "--grace-hours", "0", "--stores-file", str(stores), "--store", "more")
    assert "store more: 0 in use, 1 to delete" in ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "there is no schema 'nowhere'"),
        (("lab", "--store", "x"), "no schema 'lab'"),
        (("lab", "--stores-file", "none.json"), "none.json cannot be read as JSON"),
        (("lab", "--grace-hours", "soon"), "'soon' is not a number"),
    ],
)
def test_gc_that_cannot_be(store, typed, arguments, says):
    store()
    ran = typed("gc", *arguments)
    assert ran.returncode in (1, 2)
    assert says in ran.stderr
    assert len(ran.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize("service", ["seaweed", "gcs"])
def test_urls_with_storage_options(store, typed, tmp_path, service):
    backend = store(service)
    path = backend._full_path("movie.zarr")
    if service == "gcs":
        url, options = f"gs://{path}", ["token=anon", "project=p", f"endpoint_url={backend.spec['endpoint']}"]
    else:
        url, options = (
            f"s3://{path}",
            ["key=AK", "secret=SK", f"endpoint_url=http://{backend.spec['endpoint']}"],
        )
    flags = [part for option in options for part in ("--storage-option", option)]
    np.save(tmp_path / "raw.npy", poisson())
    for words in (
        ["encode", tmp_path / "raw.npy", url, "--gain", 1, *flags],
        *([["info", url, *flags], ["cost", url, *flags]] if service == "seaweed" else []),
        ["decode", url, tmp_path / "back.npy", *flags],
    ):
        ran = typed(*map(str, words))
        assert ran.returncode == 0, ran.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), decoded(poisson()))


def test_the_demo_of_datajoint_leaves_nothing(typed, store):
    store()
    ran = typed("demo", "--datajoint")
    assert ran.returncode == 0, ran.stderr
    assert "recording_id=42/" in ran.stdout
    assert "files left in the store: 0" in ran.stdout
