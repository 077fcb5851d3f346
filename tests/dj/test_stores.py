"""The documented dictionaries work as pasted, and wrong ones say what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.servers import environment

datajoint = pytest.importorskip("datajoint", reason="pip install 'photon-gpu[datajoint]'")

from photon_gpu.dj import stores  # noqa: E402
from photon_gpu.dj.stores import metadata_filesystem, s3_filesystem  # noqa: E402
from photon_gpu.errors import InvalidInputError  # noqa: E402

DOCUMENTED = {
    "aws": {
        "protocol": "s3",
        "endpoint": "s3.amazonaws.com",
        "bucket": "my-imaging-data",
        "location": "calcium",
    },
    "minio": {
        "protocol": "s3",
        "endpoint": "minio.example.com:9000",
        "bucket": "imaging",
        "location": "movies",
    },
    "gcs": {"protocol": "gs", "bucket": "my-imaging-bucket", "location": "calcium"},
    "hot": {"protocol": "s3", "bucket": "imaging", "location": "active", "storage_class": "STANDARD"},
    "warm": {"protocol": "s3", "bucket": "imaging", "location": "archive", "storage_class": "STANDARD_IA"},
    "cold": {"protocol": "s3", "bucket": "imaging", "location": "deep-archive", "storage_class": "GLACIER"},
}
ROW = "calcium_imaging/recording/recording_id=42/movie.zarr"


@pytest.fixture
def config():
    fresh = datajoint.settings.Config()
    fresh.stores = {}
    return fresh


def backend(config, name):
    return datajoint.storage.StorageBackend(config.get_store_spec(name))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("aws", f"s3://my-imaging-data/calcium/{ROW}"),
        ("minio", f"s3://imaging/movies/{ROW}"),
        ("gcs", f"gs://my-imaging-bucket/calcium/{ROW}"),
        ("warm", f"s3://imaging/archive/{ROW}"),
    ],
)
def test_stores_give_the_documented_urls(config, name, url):
    stores(DOCUMENTED, config=config)
    assert backend(config, name).get_url(ROW) == url
    assert config.get_store_spec(name)["schema_prefix"] == ""


def test_a_local_folder_is_a_store(config, tmp_path):
    stores({"local": {"protocol": "file", "location": str(tmp_path)}}, config=config, default="local")
    assert backend(config, None)._full_path(ROW) == f"{tmp_path}/{ROW}"


@pytest.mark.parametrize(
    ("spec", "endpoint", "region"),
    [
        (DOCUMENTED["aws"], None, None),
        ({"endpoint": "https://s3.eu-central-1.amazonaws.com"}, None, "eu-central-1"),
        (DOCUMENTED["minio"], "https://minio.example.com:9000", None),
        ({"endpoint": "127.0.0.1:9000", "secure": False}, "http://127.0.0.1:9000", None),
        ({"endpoint": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000", None),
        ({"region": "us-west-2"}, None, "us-west-2"),
    ],
)
def test_requests_go_to_the_endpoint_and_region_of_the_store(spec, endpoint, region):
    fs = s3_filesystem(spec, storage_class=None)
    assert fs.endpoint_url == endpoint
    assert fs.client_kwargs.get("region_name") == region


def test_chunks_and_metadata_have_their_own_class(config):
    stores(DOCUMENTED, config=config)
    cold = backend(config, "cold")
    assert cold.fs.s3_additional_kwargs == {"StorageClass": "GLACIER"}
    assert metadata_filesystem(cold).s3_additional_kwargs == {}
    hot = backend(config, "minio")
    assert metadata_filesystem(hot) is hot.fs


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"protocol": "ftp", "location": "x"}, "allowed: 'file', 's3', 'gs'"),
        ({"location": "x"}, "protocol None"),
        ({"protocol": "s3", "location": "x"}, "bucket is missing"),
        ({"protocol": "file"}, "location is missing"),
        (
            {"protocol": "s3", "bucket": "b", "storage_class": "FROZEN"},
            "'FROZEN' is not known; allowed: ST",
        ),
        ({"protocol": "s3", "bucket": "b", "bukket": "c"}, "bukket is not a key"),
        ({"protocol": "s3", "bucket": "b", "access_key": "a"}, "both access_key and secret_key"),
        ({"protocol": "gs", "bucket": "b", "storage_class": "COLDLINE"}, "bucket's default storage class"),
        ({"protocol": "file", "location": "x", "storage_class": "GLACIER"}, "storage_class is not a key"),
    ],
)
def test_a_wrong_store_says_what_is_wrong(config, spec, says):
    with pytest.raises(InvalidInputError, match=says):
        stores({"mine": spec}, config=config)
    assert config.stores == {}


def test_a_default_that_is_no_store_is_refused(config):
    with pytest.raises(InvalidInputError, match="'there' is not one of the stores"):
        stores(DOCUMENTED, config=config, default="there")


def test_other_stores_and_secrets_stay(config):
    config.stores = {
        "other": {"protocol": "file", "location": "/"},
        "hot": {"access_key": "A", "secret_key": "S"},
    }
    stores(DOCUMENTED, config=config)
    assert config.stores["other"]["location"] == "/"
    assert config.get_store_spec("hot")["access_key"] == "A"


def test_datajoint_finds_the_protocols_without_importing_us():
    code = (
        "import warnings; warnings.simplefilter('ignore'); import datajoint as dj, sys;"
        "print(dj.config.get_store_spec('gcs')['bucket'], dj.config.get_store_spec('cold')['storage_class'])"
    )
    specs = {"gcs": DOCUMENTED["gcs"], "cold": {**DOCUMENTED["cold"], "protocol": "photon-s3"}}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment({"DJ_STORES": json.dumps(specs), "DJ_IGNORE_CONFIG_FILE": "true"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["my-imaging-bucket", "GLACIER"]
