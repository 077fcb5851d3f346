"""Metadata are written as documented and read with suspicion."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError, UnsupportedVersionError
from photon_gpu.store import metadata

CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)
SHAPE, CHUNKS = (1000, 16, 24), (100, 16, 24)
ENCODINGS = [
    Encoding(noise=CAMERA),
    Encoding(noise=CAMERA, dither=7, step=1 / 3, dtype="float32"),
    Encoding(layout="plain", noise=CAMERA, step=None),
    Encoding(layout="compact", noise=CAMERA, dtype="int16", predictor=Predictor(name="full", rate=3)),
    Encoding(layout="compact", dtype="uint8", exact=True, compressor=Compressor(blocksize=0)),
    Encoding(layout="lossless", dtype="float64"),
    Encoding(layout="lossless", noise=CAMERA, dtype="int64"),
]


def files(encoding=ENCODINGS[3], **extra):
    layout = layout_for(encoding, get_backend("numba"))
    return metadata.array_json(SHAPE, CHUNKS, layout), metadata.attributes_json(SHAPE, layout, extra)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_what_is_written_is_read(encoding):
    description = metadata.describe(*files(encoding, lab="ours"), "here")
    assert (description.shape, description.chunks, description.encoding) == (SHAPE, CHUNKS, encoding)
    assert description.attributes["lab"] == "ours"


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_keys_stand_in_the_documented_order(encoding):
    array, attributes = (json.loads(data, object_pairs_hook=list) for data in files(encoding, mine=1))
    assert [key for key, _ in array] == [
        "chunks",
        "compressor",
        "dtype",
        "fill_value",
        "filters",
        "order",
        "shape",
        "zarr_format",
    ]
    documented = [
        "codec_version",
        "codec_name",
        "anscombe_gain",
        "anscombe_offset",
        "anscombe_variance",
        "original_dtype",
        "layout",
        "quantization_step",
        "dither_seed",
        "exact_values",
        "predictor",
        "_ARRAY_DIMENSIONS",
        "photon_format",
        "mine",
    ]
    keys = [key for key, _ in attributes]
    assert keys == [key for key in documented if key in keys] and keys[-1] == "mine"


def test_the_axes_have_their_names_where_xarray_looks_for_them():
    def dimensions(**extra):
        return json.loads(files(**extra)[1])["_ARRAY_DIMENSIONS"]

    assert dimensions() == ["t", "y", "x"]
    assert dimensions(photon_recording={"axes": "zyx"}) == ["z", "y", "x"]
    assert dimensions(_ARRAY_DIMENSIONS=["time", "row", "col"]) == ["time", "row", "col"]
    assert "\n" not in json.loads(files()[1])["photon_format"]


@pytest.mark.parametrize(
    "key", ["codec_version", "anscombe_gain", "layout", "predictor", "quantization_step", "photon_format"]
)
def test_a_callers_attributes_cannot_replace_the_formats(key):
    for encoding in ENCODINGS:
        with pytest.raises(InvalidInputError, match=f"'{key}' is photon_gpu's own"):
            files(encoding, **{key: 1})


@pytest.mark.parametrize(
    "value", [np.arange(3), {1, 2}, float("nan"), b"x", object()], ids=lambda value: type(value).__name__
)
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InvalidInputError, match="attributes"):
        files(mine=value)


@pytest.mark.parametrize(
    "array, attributes",
    [
        ({"shape": [1000, 16]}, {}),
        ({"shape": None}, {}),
        ({"shape": [1000, 16, True]}, {}),
        ({"shape": [1000, 16, 24.0]}, {}),
        ({"shape": [0, 16, 24]}, {}),
        ({"shape": [10, 24], "chunks": [10, 24]}, {}),
        ({"chunks": [100, 8, 24]}, {}),
        ({"chunks": [10**9, 16, 24]}, {}),
        ({"shape": [9, 2**40, 9], "chunks": [9, 2**40, 9]}, {}),
        ({"shape": [1] * 33, "chunks": [1] * 33}, {}),
        ({"dtype": ">i2"}, {}),
        ({"dtype": "<f8"}, {}),
        ({"dtype": "|O"}, {}),
        ({"order": "F"}, {}),
        ({"dimension_separator": "/"}, {}),
        ({"filters": None}, {}),
        ({"filters": [{"id": "pickle"}]}, {}),
        ({"filters": [{"id": "photon"}, {"id": "pickle"}]}, {}),
        ({"filters": "photon"}, {}),
        ({"filters": ["photon"]}, {}),
        ({"compressor": {"id": "zstd"}}, {}),
        ({"compressor": {"id": "blosc", "clevel": 99}}, {}),
        ({"compressor": []}, {}),
        ({}, {"anscombe_gain": 0}),
        ({}, {"anscombe_gain": "2"}),
        ({}, {"anscombe_gain": True}),
        ({}, {"anscombe_offset": None}),
        ({}, {"anscombe_variance": -1}),
        ({}, {"anscombe_gain": 1e300}),
        ({}, {"quantization_step": -1}),
        ({}, {"quantization_step": "0.5"}),
        ({}, {"quantization_step": []}),
        ({}, {"dither_seed": -1}),
        ({}, {"dither_seed": 0.5}),
        ({}, {"original_dtype": "object"}),
        ({}, {"original_dtype": 7}),
        ({}, {"original_dtype": "uint16"}),
        ({}, {"predictor": None}),
        ({}, {"predictor": {}}),
        ({}, {"predictor": {"name": "x"}}),
        ({}, {"predictor": {"name": "mean", "rate": 8, "weights": [[1e300] * 11] * 2}}),
        ({}, {"predictor": {"name": "mean", "rate": 8, "weights": [["a"] * 11] * 2}}),
        ({}, {"predictor": {"name": "mean", "rate": 8, "weights": 5, "more": 1}}),
        ({}, {"codec_name": "other"}),
    ],
    ids=str,
)
def test_hostile_metadata_are_damage_and_named(array, attributes):
    good = [json.loads(data) for data in files()]
    bad = [json.dumps({**old, **new}).encode() for old, new in zip(good, (array, attributes), strict=True)]
    with pytest.raises(CorruptDataError, match="here"):
        metadata.describe(*bad, "here")


@pytest.mark.parametrize("version", ["4.0", "0.9", "", "x", None, 2, 2.0, [2]])
def test_unknown_versions_are_refused(version):
    array, attributes = files()
    with pytest.raises(UnsupportedVersionError):
        metadata.describe(
            array, json.dumps({**json.loads(attributes), "codec_version": version}).encode(), "here"
        )
    if version != 2:
        with pytest.raises(UnsupportedVersionError):
            metadata.describe(
                json.dumps({**json.loads(array), "zarr_format": version}).encode(), attributes, "here"
            )


@pytest.mark.parametrize(
    "missing", ["codec_version", "original_dtype", "anscombe_gain", "anscombe_offset", "predictor"]
)
def test_a_missing_key_is_an_error(missing):
    array, attributes = files()
    less = {key: value for key, value in json.loads(attributes).items() if key != missing}
    with pytest.raises(PhotonError):
        metadata.describe(array, json.dumps(less).encode(), "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), value=JSON)
@settings(deadline=None, max_examples=400, derandomize=True)
def test_anything_in_place_of_any_value_is_read_or_refused_never_a_crash(data, value):
    array, attributes = (json.loads(content) for content in files())
    where = data.draw(st.sampled_from([array, attributes]))
    key = data.draw(st.sampled_from(sorted(where)))
    where[key] = value
    try:
        result = metadata.describe(json.dumps(array).encode(), json.dumps(attributes).encode(), "here")
        assert len(result.shape) == len(result.chunks)
    except PhotonError:
        pass


def test_what_is_no_json_object_is_damage():
    good = files()
    for content in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b" " * (65 << 20)):
        for i in (0, 1):
            with pytest.raises(CorruptDataError):
                metadata.describe(*(content if j == i else good[j] for j in (0, 1)), "here")
