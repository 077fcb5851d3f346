"""The filter in anyone's Zarr v2 array, and in a process that never heard of photon_gpu."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numcodecs
import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.engine.codec.header import header_bytes, unpack
from photon_gpu.engine.codec.predictors import NAMES
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError, UnsupportedTypeError
from photon_gpu.plugins.numcodecs_photon import Photon
from tests.support.stores.forged_payloads import sealed
from tests.support.stores.plugin_movies import CAMERA, movie


def test_zarr_open_reads_counts_in_a_process_that_does_not_import_photon_gpu(tmp_path):
    values = movie()
    pg.encode(values, tmp_path / "m.zarr", noise=pg.NoiseModel(**CAMERA), layout="compact", chunk_frames=10)
    code = f"""
        import json, sys
        import zarr
        before = "photon_gpu" in sys.modules
        z = zarr.open({str(tmp_path / "m.zarr")!r}, mode="r")
        print(json.dumps([before, str(z.dtype), list(z.shape), z[:].tolist()]))
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    before, dtype, shape, counts = json.loads(out.stdout)
    assert not before and dtype == "uint16" and shape == [25, 17, 23]
    np.testing.assert_array_equal(np.array(counts), pg.open(tmp_path / "m.zarr").counts[...])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_a_filter_in_anyones_zarr_v2_array(dtype, name):
    values = movie(dtype=dtype)
    photon = Photon(**CAMERA, dtype=dtype, predictor=name)
    array = zarr.create_array(
        {},
        shape=values.shape,
        chunks=(10, 17, 23),
        dtype=dtype,
        zarr_format=2,
        filters=[photon],
        fill_value=None,
        compressors=numcodecs.Zstd(1),
    )
    array[:] = values
    off = np.abs(
        pg.anscombe(array[:], pg.NoiseModel(**CAMERA)) - pg.anscombe(values, pg.NoiseModel(**CAMERA))
    )
    assert array[:].dtype == dtype and off.max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(array[7:13, 3, ::2], array[:][7:13, 3, ::2])
    before = array[:]
    array[12] = values[0]  # a part of a chunk: decoded, changed, encoded again; the rest does not drift
    np.testing.assert_array_equal(np.delete(array[:], 12, 0), np.delete(before, 12, 0))
    # Integers are rounded by position: the same code one unit up or down.
    assert np.abs(array[12].astype(float) - array[0].astype(float)).max() <= 1.0


@pytest.mark.parametrize("chunks", [(25, 17, 23), (1, 17, 23), (10, 5, 7), (25, 1, 1)])
def test_chunks_of_any_shape_even_cut_frames(chunks):
    values = movie()
    array = zarr.create_array(
        {},
        shape=values.shape,
        chunks=chunks,
        dtype="uint16",
        zarr_format=2,
        filters=[Photon(exact=True)],
        fill_value=0,
    )
    array[:] = values
    np.testing.assert_array_equal(array[:], values)


def test_fortran_order_is_refused_instead_of_scrambled():
    values = movie((4, 6, 8))
    array = zarr.create_array(
        {},
        shape=values.shape,
        chunks=(2, 6, 8),
        dtype="uint16",
        zarr_format=2,
        filters=[Photon(exact=True)],
        fill_value=None,
        order="F",
    )
    with pytest.raises(InvalidInputError, match="order='C'"):
        array[:] = values
    photon = Photon(exact=True)
    np.testing.assert_array_equal(
        photon.decode(photon.encode(values[::2, ::-1, ::3])), values[::2, ::-1, ::3]
    )


def test_the_configuration_survives_json_and_makes_the_same_filter():
    for photon in (
        Photon(),
        Photon(**CAMERA, step=0.25, dtype="float32", dither=7, predictor="full"),
        Photon(exact=True, predictor={"name": "past", "rate": 3, "weights": [[1] * 11, [2] * 11]}),
    ):
        config = json.loads(json.dumps(photon.get_config()))
        assert config["id"] == "photon"
        again = numcodecs.get_codec(config)
        assert isinstance(again, Photon) and again == photon and again.get_config() == photon.get_config()
        values = movie((3, 5, 6), photon.encoding.dtype)
        assert again.encode(values).tobytes() == photon.encode(values).tobytes()
        np.testing.assert_array_equal(
            again.decode(photon.encode(values)), photon.decode(photon.encode(values))
        )


def test_the_entry_point_finds_it():
    code = "import numcodecs, sys; c = numcodecs.get_codec({'id': 'photon'}); print(type(c).__name__, c)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("Photon Photon(NoiseModel(gain=1.0") and "'mean'" in out.stdout


def test_bytes_and_out_are_what_numcodecs_hands_over():
    photon, values = Photon(**CAMERA), movie((3, 5, 6))
    payload = photon.encode(values)
    assert payload.dtype == np.uint8 and payload.ndim == 1
    expected = photon.decode(payload)
    for buffer in (payload.tobytes(), bytearray(payload), memoryview(payload), payload.view("int8")):
        np.testing.assert_array_equal(photon.decode(buffer), expected)
    out = np.empty_like(values)
    assert photon.decode(payload, out=out) is not None
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    "values, error",
    [
        (np.zeros((2, 3, 4), "int16"), UnsupportedTypeError),
        (np.zeros((2, 3, 4), ">u2"), UnsupportedTypeError),
        (np.zeros((0, 3, 4), "uint16"), InvalidInputError),
        (np.zeros((), "uint16"), InvalidInputError),
    ],
)
def test_what_it_cannot_encode_is_refused(values, error):
    with pytest.raises(error):
        Photon(dtype="uint16").encode(values)


@pytest.mark.parametrize(
    "parameters",
    [
        {"gain": 0},
        {"step": 99},
        {"dtype": "bool"},
        {"predictor": "lucky"},
        {"dither": -1},
        {"predictor": {"name": "mean", "rate": 8, "weights": [[0] * 11]}},
    ],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(PhotonError):
        Photon(**parameters)


def test_a_hostile_chunk_takes_no_memory():
    """A payload that says it is larger than any chunk, with its checksum set right."""
    payload = Photon(dtype="uint16").encode(movie((2, 3, 4)))
    header, _ = unpack(payload)
    for axis, size in ((0, 2**40), (2, 2**31), (1, 2**63)):
        bad = payload.copy()
        bad[96 + 8 * axis : 104 + 8 * axis] = np.frombuffer(size.to_bytes(8, "little"), np.uint8)
        with pytest.raises(CorruptDataError):
            Photon(dtype="uint16").decode(sealed(bad))
    assert header.nbytes == header_bytes(3)
    for bad in (b"", b"PHTN", payload[:50], payload[:-1]):
        with pytest.raises(CorruptDataError):
            Photon(dtype="uint16").decode(bad)


def test_a_chunk_of_another_filter_is_refused():
    payload = Photon(gain=2.0).encode(movie((2, 3, 4)))
    with pytest.raises(CorruptDataError, match="its store says"):
        Photon(gain=3.0).decode(payload)


def test_channels_have_a_model_each_in_a_zarr_array():
    models = [{"gain": 80.0, "offset": 100.0}, {"gain": 20.0, "predictor": "none"}]
    codec = Photon(dtype="int16", channels=models, channel_axis=1)
    assert numcodecs.get_codec(codec.get_config()).get_config() == codec.get_config()
    values = np.random.default_rng(0).integers(0, 3000, (12, 2, 9, 8)).astype("int16")
    array = zarr.create_array(
        {},
        shape=values.shape,
        chunks=(5, 2, 9, 8),
        dtype="int16",
        zarr_format=2,
        filters=[codec],
        fill_value=0,
    )
    array[...] = values
    for number, gain in enumerate((80.0, 20.0)):
        noise = pg.NoiseModel(gain=gain, offset=models[number].get("offset", 0.0))
        away = pg.anscombe(array[:, number], noise) - pg.anscombe(values[:, number], noise)
        assert np.abs(away).max() <= 0.5
    with pytest.raises(CorruptDataError, match="this filter has 3"):
        Photon(dtype="int16", channels=[*models, models[0]]).decode(codec.encode(values))
    assert "2 channels" in repr(codec)
