"""The command line against a real S3 server: in, told, out, refused, and no secret shown."""

import json

import numpy as np
import pytest

from tests.support import servers

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with servers.moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield [
            f'client_kwargs={{"endpoint_url": "http://{endpoint}"}}',
            "key=12345",
            "secret=hush-hush-42",
        ]


def options(name, pairs):
    return [word for pair in pairs for word in (name, pair)]


def test_a_movie_goes_to_s3_and_comes_back(cli, stored, counts, bucket, tmp_path):
    url, store = "s3://imaging/cli/movie.zarr", options("--storage-option", bucket)
    written = cli(
        "encode", "ok.npy", url, "--gain", 1, "--layout", "compact", "--chunk-frames", 10, *store, "--json"
    )
    assert written.code == 0, written.err
    told = cli("info", url, *store, "--json")
    assert told.json["stored_bytes"] == written.json["stored_bytes"]
    assert told.json["missing_chunks"] == 0
    back = cli("decode", url, "back.npy", *store)
    assert back.code == 0, back.err
    local = cli("decode", "ok.zarr", "local.npy")
    assert local.code == 0
    assert np.array_equal(np.load(tmp_path / "back.npy"), np.load(tmp_path / "local.npy"))

    exported = cli("decode", "ok.zarr", "s3://imaging/cli/raw.zarr", *store, "--json")
    assert exported.code == 0, exported.err
    source = options("--source-option", bucket)
    again = cli(
        "encode", "s3://imaging/cli/raw.zarr", "again.zarr", "--layout", "lossless", *source, "--json"
    )
    assert again.code == 0, again.err
    assert again.json["shape"] == list(counts.shape)


def test_errors_are_one_line_and_show_no_secret(cli, stored, bucket):
    url, store = "s3://imaging/taken.zarr", options("--storage-option", bucket)
    assert cli("encode", "ok.npy", url, "--gain", 1, *store).code == 0
    for words, code, text in (
        (["encode", "ok.npy", url, "--gain", 1, *store], 2, "exists and holds a movie"),
        (["info", "s3://imaging/none.zarr", *store], 2, "nothing is there"),
        (["encode", "ok.npy", "s3://nobucket/x.zarr", "--gain", 1, *store], 1, "bucket does not exist"),
    ):
        ran = cli(*words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran.err
        assert text in ran.err
        assert "hush" not in ran.err + cli(*words, "--json").err
        assert "hush" not in json.dumps(cli("info", url, *store, "--json").json)
