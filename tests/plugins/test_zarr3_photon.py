"""The codec as the serializer of Zarr v3 arrays, sharded or not."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import zarr
from zarr.codecs import TransposeCodec, ZstdCodec

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError
from photon_gpu.plugins.zarr3_photon import NAME, PhotonZarr3
from tests.support.stores.plugin_movies import CAMERA, movie


def created(store, values, **options):
    parameters = options.pop("parameters", {})
    array = zarr.create_array(
        store,
        shape=values.shape,
        chunks=options.pop("chunks", (10, 17, 23)),
        dtype=values.dtype,
        fill_value=0,
        serializer=PhotonZarr3(**CAMERA, dtype=values.dtype.name, **parameters),
        compressors=ZstdCodec(level=1),
        zarr_format=3,
        **options,
    )
    array[:] = values
    return array


@pytest.mark.parametrize("shards", [None, (20, 17, 23)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_values_written_by_zarr_are_read_within_half_a_step(dtype, shards, tmp_path):
    values = movie(dtype=dtype)
    array = created(str(tmp_path / "m.zarr"), values, shards=shards)
    noise = pg.NoiseModel(**CAMERA)
    assert np.abs(pg.anscombe(array[:], noise) - pg.anscombe(values, noise)).max() <= 0.5 + 1e-6
    again = zarr.open_array(str(tmp_path / "m.zarr"), mode="r")
    np.testing.assert_array_equal(again[:], array[:])
    np.testing.assert_array_equal(again[8:13, 2], array[:][8:13, 2])


def test_exact_values_come_back_exactly_whatever_is_in_front():
    values = movie()
    for filters in ([], [TransposeCodec(order=(2, 0, 1))], [TransposeCodec(order=(2, 1, 0))]):
        array = created({}, values, filters=filters, parameters={"exact": True})
        np.testing.assert_array_equal(array[:], values)


def test_parts_of_shards_are_written_and_read():
    values = movie((40, 6, 8))
    array = created({}, values, chunks=(5, 6, 8), shards=(20, 6, 8), parameters={"exact": True})
    array[3:17] = values[20:34]
    expected = values.copy()
    expected[3:17] = values[20:34]
    np.testing.assert_array_equal(array[:], expected)
    np.testing.assert_array_equal(array[4:6, 1:3], expected[4:6, 1:3])


def test_another_process_finds_the_codec_by_its_entry_point(tmp_path):
    array = created(str(tmp_path / "m.zarr"), movie())
    code = f"""
        import sys, zarr
        print("photon_gpu" in sys.modules, int(zarr.open({str(tmp_path / "m.zarr")!r}, mode="r")[:].sum()))
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["False", str(int(array[:].sum()))]


def test_its_entry_in_zarr_json_makes_it_again(tmp_path):
    created(str(tmp_path / "m.zarr"), movie(), parameters={"dither": 3, "predictor": "past"})
    codecs = json.loads((tmp_path / "m.zarr/zarr.json").read_text())["codecs"]
    entry = next(codec for codec in codecs if codec["name"] == NAME)
    codec = PhotonZarr3.from_dict(entry)
    assert codec == PhotonZarr3(**CAMERA, dither=3, predictor="past") and codec.to_dict() == entry
    assert codec != PhotonZarr3() and hash(codec) == hash(PhotonZarr3.from_dict(entry))
    with pytest.raises(InvalidInputError, match="other"):
        PhotonZarr3.from_dict({"name": "other"})
    with pytest.raises(PhotonError):
        PhotonZarr3(gain=-1)
    with pytest.raises(NotImplementedError):
        codec.compute_encoded_size(10, None)


def test_damage_is_an_error(tmp_path):
    array = zarr.create_array(
        str(tmp_path / "m.zarr"),
        shape=(4, 6, 8),
        chunks=(4, 6, 8),
        dtype="uint16",
        fill_value=0,
        serializer=PhotonZarr3(**CAMERA),
        compressors=None,
        zarr_format=3,
    )
    array[:] = movie((4, 6, 8))
    path = tmp_path / "m.zarr/c/0/0/0"
    whole = bytearray(path.read_bytes())
    for position in (0, 5, 30, 100, len(whole) - 1):
        bad = whole.copy()
        bad[position] ^= 0x20
        path.write_bytes(bad)
        with pytest.raises(PhotonError):
            array[:]
    path.write_bytes(whole[:-3])
    with pytest.raises(CorruptDataError):
        array[:]
