"""The check of frames refuses what the encoder would refuse, and no more; what passed is stored."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.errors import InvalidInputError
from photon_gpu.live.frame_check import FrameCheck
from tests.support.waiting import wait_until

CAMERA = pg.NoiseModel(gain=1.0, offset=0.0, variance=1.0)
CHUNK = 4
SHAPE = (6, 7)


def movie(dtype, frames=10, low=90, high=110):
    return np.random.default_rng(1).integers(low, high, (frames, *SHAPE)).astype(dtype)


def begin(url, dtype, **options):
    options = {"noise": CAMERA, "chunk_frames": CHUNK, "workers": 1, "publish_seconds": 0.0, **options}
    return pg.LiveWriter(url, frame_shape=SHAPE, dtype=dtype, **options)


@pytest.mark.parametrize("layout", ["compact", "plain"])
@pytest.mark.parametrize(
    ("dtype", "value", "step"),
    [
        ("int32", -2_000_000, 0.5),
        ("int32", -(2**31), 0.5),
        ("int32", 2_000_000_000, 0.01),
        ("int64", -(2**40), 0.5),
        ("uint32", 2**32 - 1, 0.01),
        ("float32", -3e6, 0.5),
        ("float64", -2e6, 0.5),
        ("float64", 1e300, 0.5),
    ],
)
def test_one_pixel_that_leaves_the_codes_of_a_chunk_is_refused_and_nothing_is_lost(
    tmp_path, layout, dtype, value, step
):
    frames = movie(dtype)
    bad = frames[5].copy()
    bad[3, 3] = value
    with begin(tmp_path / "m.zarr", dtype, layout=layout, step=step, durability="frame") as live:
        live.append(frames[:5])
        with pytest.raises(
            InvalidInputError, match=r"frames from 5|in frames from 5|lies .* sigma from zero"
        ) as told:
            live.append(bad)
        assert len(str(told.value)) < 400
        assert live.append(frames[5:]) == 10
    result = pg.open(tmp_path / "m.zarr")
    assert len(result) == 10 and pg.verify(tmp_path / "m.zarr", deep=True).ok
    assert np.abs(result[...] - pg.anscombe(frames, CAMERA)).max() <= step / 2 + 1e-9 or result.encoding.exact


def test_a_batch_is_checked_chunk_by_chunk_and_taken_whole_or_not_at_all(tmp_path):
    frames = movie("int32")
    frames[1, 0, 0], frames[6, 0, 0] = (
        2_000_000_000,
        -1_150_000,
    )  # too far apart for one chunk, and not in one
    with begin(tmp_path / "m.zarr", "int32") as live:
        live.append(frames[:6])
        live.append(frames[6:])
    assert len(pg.open(tmp_path / "m.zarr")) == 10
    frames[5, 0, 0] = 2_000_000_000
    with begin(tmp_path / "n.zarr", "int32") as live:
        with pytest.raises(InvalidInputError, match="frames from 4 do not fit a chunk"):
            live.append(frames)
        assert live.status().frames_in == 0
        live.append(frames[:4])
    assert len(pg.open(tmp_path / "n.zarr")) == 4


def test_a_frame_is_checked_with_those_of_its_chunk_that_came_before(tmp_path):
    frames = movie("int32")
    high, low = frames[1].copy(), frames[1].copy()
    high[0, 0], low[0, 0] = 2_000_000_000, -1_150_000  # each fits a chunk, and both together do not
    with begin(tmp_path / "m.zarr", "int32") as live:
        live.append(frames[0])
        live.append(high)
        with pytest.raises(InvalidInputError, match="frames from 2 do not fit a chunk"):
            live.append(low)
        live.append(frames[:2])
        live.append(low)  # of the next chunk
    assert len(pg.open(tmp_path / "m.zarr")) == 5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_a_model_that_no_value_of_a_narrow_dtype_fits_begins_nothing(tmp_path, dtype):
    absurd = pg.NoiseModel(gain=1e-6, offset=1e6, variance=0.0)
    with pytest.raises(InvalidInputError, match="check gain"):
        begin(tmp_path / "m.zarr", dtype, noise=absurd, step=0.01, durability="frame")
    assert not list(tmp_path.iterdir())


def test_a_model_that_some_values_of_a_narrow_dtype_do_not_fit(tmp_path):
    steep = pg.NoiseModel(gain=1e-4, offset=0.0, variance=0.0)
    frames = movie("uint16", low=100, high=101)
    with begin(tmp_path / "m.zarr", "uint16", noise=steep, step=0.01) as live:
        live.append(frames[:2])
        with pytest.raises(InvalidInputError, match="frames from 2 do not fit a chunk"):
            live.append(np.full(SHAPE, 65535, "uint16"))
        live.append(frames[2:])
    assert len(pg.open(tmp_path / "m.zarr")) == 10


@pytest.mark.parametrize("layout", ["compact", "plain"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_the_check_and_the_encoder_agree_on_random_ranges(layout, dtype):
    """Whatever the check admits encodes; whatever it refuses does not (or leaves 32 bits)."""
    rng = np.random.default_rng(7)
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    backend, refused = get_backend("numba"), 0
    for _ in range(60):
        noise = pg.NoiseModel(
            gain=10.0 ** rng.uniform(-5, 4), offset=rng.uniform(-200, 200), variance=rng.uniform(0, 9)
        )
        step = 0.01 if np.dtype(dtype).itemsize <= 2 else 0.5  # else no narrow dtype spans too many codes
        tuned = layout_for(Encoding(layout=layout, dtype=dtype, noise=noise, step=step), backend)
        ends = 10.0 ** rng.uniform(0, 7, 2) * rng.choice([-1, 1], 2)
        block = np.clip(ends, info.min, info.max).astype(dtype).reshape(2, 1, 1)
        try:
            check = FrameCheck((1, 1), np.dtype(dtype), 2, backend)
            check.expect(tuned)
            for first in (0, 1):
                check.admit(block[first : first + 1], first)
        except InvalidInputError as error:
            refused += 1
            if "32 bits" not in str(error):
                with pytest.raises(InvalidInputError):
                    _coded(tuned, block)
            continue
        _coded(tuned, block)
    assert 0 < refused < 60 or dtype == "int8"


def _coded(layout, block):
    """Encode a chunk; of one whose table of thresholds would take long, only what may refuse it."""
    from photon_gpu.engine.codec.quantize import extent

    _, top = layout.check(extent(block, layout.backend, noise=layout.encoding.noise))
    if layout.encoding.table().has_lut or top < 10_000:
        layout.encode(block, block.shape, Resources())


@pytest.mark.parametrize(
    "bad", [2, 9]
)  # of the first chunk, and of one that comes while the model is estimated
@pytest.mark.parametrize("durability", ["frame", "chunk"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_frames_taken_before_the_model_was_known_and_beyond_it_make_the_recording_lossless(
    tmp_path, dtype, durability, bad
):
    frames = movie(dtype, 20)
    frames[bad, 0, 0] = -2_000_000
    going = threading.Event()

    def model(sample):
        going.wait(20)
        return CAMERA

    with begin(tmp_path / "m.zarr", dtype, noise=model, estimate_frames=4, durability=durability) as live:
        live.append(frames[:8])
        live.append(frames[8:10])  # while the model is estimated
        going.set()
        wait_until(lambda: live.status().notes)
        live.append(frames[10:])
    assert "every bit is kept" in live.status().notes[0]
    result = pg.open(tmp_path / "m.zarr")
    assert result.layout == "lossless" and result.noise == CAMERA
    assert np.array_equal(result.counts[...], frames)


def test_negatives_before_a_photon_counter_was_estimated(tmp_path):
    frames = movie("int16")
    frames[1, 2, 3] = -7
    with begin(tmp_path / "m.zarr", "int16", noise=lambda sample: pg.NoiseModel(), estimate_frames=4) as live:
        live.append(frames)
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], frames)
    assert "-7 at frame 1" in live.status().notes[0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_after_an_estimate_that_refuses_every_later_frame_is_taken(tmp_path, dtype):
    frames = movie(dtype, 30)
    with begin(tmp_path / "m.zarr", dtype, noise=lambda sample: None, estimate_frames=4) as live:
        live.append(frames[:8])
        wait_until(lambda: live.status().notes)
        for frame in frames[8:]:
            live.append(frame)
        if np.dtype(dtype).kind == "f":
            live.append(np.full(SHAPE, np.nan, dtype))
    result = pg.open(tmp_path / "m.zarr")
    assert result.layout == "lossless" and np.array_equal(result.counts[:30], frames)


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "float32", "float64"])
def test_a_chunk_that_passed_and_cannot_be_quantized_all_the_same_is_stored_as_it_is(
    tmp_path, monkeypatch, dtype
):
    frames = movie(dtype)
    encode = Compact.encode

    def refusing(self, values, chunk, resources, first_frame=0):
        if first_frame == CHUNK:
            raise InvalidInputError("planted")
        return encode(self, values, chunk, resources, first_frame)

    monkeypatch.setattr(Compact, "encode", refusing)
    with begin(tmp_path / "m.zarr", dtype, durability="frame") as live:
        live.append(frames)
    assert "frames 4 to 7 could not be quantized and are stored as they are: planted" in live.status().notes
    result = pg.open(tmp_path / "m.zarr")
    assert np.array_equal(result.counts[4:8], frames[4:8])
    assert np.array_equal(result.counts[5, 2], frames[5, 2])
    assert np.array_equal(result[4:8], pg.anscombe(frames[4:8], CAMERA))
    assert pg.verify(tmp_path / "m.zarr", deep=True).ok
    import zarr

    assert np.array_equal(zarr.open(tmp_path / "m.zarr", mode="r")[4:8], frames[4:8])


def test_close_does_not_call_a_store_away_while_a_chunk_is_being_encoded(tmp_path, monkeypatch):
    frames = movie("int16")
    encode = Compact.encode

    def slow(self, *args, **options):
        time.sleep(0.7)
        return encode(self, *args, **options)

    monkeypatch.setattr(Compact, "encode", slow)
    with begin(tmp_path / "m.zarr", "int16", close_seconds=0.2) as live:
        live.append(frames)
    assert len(pg.open(tmp_path / "m.zarr")) == 10
