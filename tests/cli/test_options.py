"""Options that commands share."""

import inspect
from dataclasses import fields

import pytest

from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.encode import EncodeOptions
from photon_gpu.cli.options.record import RecordOptions
from photon_gpu.cli.options.running import Json
from photon_gpu.cli.options.stored_movie import is_remote
from photon_gpu.cli.options.values import pairs
from photon_gpu.encode_settings import EncodeSettings, RecordSettings
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError


def test_values_are_read_as_json_where_that_is_meant():
    options = [
        "anon=false",
        "port=9000",
        'client_kwargs={"endpoint_url": "http://127.0.0.1:1"}',
        "x=a=b",
        "empty=",
        "n=-3",
    ]
    assert pairs(options, "-o") == {
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


@pytest.mark.parametrize("options", [["x"], ["=x"], ["a=1", "a=2"]])
def test_what_is_no_pair_is_refused(options):
    with pytest.raises(InvalidInputError, match="--storage-option"):
        pairs(options, "--storage-option")


def test_which_places_are_remote():
    assert [is_remote(url) for url in ("a.zarr", "/a", "file:///a", "s3://b/c", "memory://x")] == [
        False,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("group", "settings"),
    [(EncodeOptions, EncodeSettings), (RecordOptions, RecordSettings)],
)
def test_what_is_not_typed_has_the_default_of_the_library(group, settings):
    assert group().settings() == settings()


def test_what_is_typed_becomes_a_setting():
    typed = {
        "step": 1.0,
        "predictor": "mean",
        "dither": 3,
        "chunk_frames": 7,
        "workers": 2,
        "trust_noise": True,
        "accept_processed": True,
    }
    for group in (EncodeOptions, RecordOptions):
        made = group(layout="compact", gain=2.0, check="off", **typed).settings()
        assert {name: getattr(made, name) for name in typed} == typed
        assert (made.noise, made.check) == (NoiseModel(gain=2.0), False)
    settings = RecordOptions(spool="fast", storage_option=["anon=true"]).for_writer("s3://bucket/m.zarr")
    assert (settings["spool"], settings["storage_options"]) == ("fast", {"anon": True})


def test_a_group_stands_for_its_options():
    @grouped
    def command(src: str, asked: EncodeOptions, json: Json = False):
        """Help."""
        return src, asked, json

    names = list(inspect.signature(command).parameters)
    assert names == ["src", *(one.name for one in fields(EncodeOptions)), "json"]
    values = {one.name: one.default for one in fields(EncodeOptions)} | {"step": 2.0}
    assert command(src="a", json=True, **values) == ("a", EncodeOptions(step=2.0), True)
    assert command.__doc__ == "Help."
