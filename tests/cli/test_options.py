"""Options that commands share."""

import pytest

from photon_gpu.cli.options import is_remote, pairs
from photon_gpu.errors import InvalidInputError


def test_values_are_read_as_json_where_that_is_meant():
    given = [
        "anon=false",
        "port=9000",
        'client_kwargs={"endpoint_url": "http://127.0.0.1:1"}',
        "x=a=b",
        "empty=",
        "n=-3",
    ]
    assert pairs(given, "-o") == {
        "anon": False,
        "port": 9000,
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:1"},
        "x": "a=b",
        "empty": "",
        "n": -3,
    }


def test_names_and_secrets_stay_text():
    assert pairs(["key=123", "secret=0042", "dataset=1", "path=true"], "-o") == {
        "key": "123",
        "secret": "0042",
        "dataset": "1",
        "path": "true",
    }


@pytest.mark.parametrize("given", [["x"], ["=x"], ["a=1", "a=2"]])
def test_what_is_no_pair_is_refused(given):
    with pytest.raises(InvalidInputError, match="--storage-option"):
        pairs(given, "--storage-option")


def test_which_places_are_remote():
    assert [is_remote(url) for url in ("a.zarr", "/a", "file:///a", "s3://b/c", "memory://x")] == [
        False,
        False,
        False,
        True,
        True,
    ]
