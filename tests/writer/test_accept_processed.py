"""Data that were processed are quantized only when asked to, in every entrance, and the store says so."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy import ndimage

import photon_gpu as pg
from photon_gpu.errors import BatchError, InvalidInputError, PhotonWarning
from tests.support.noise.detector_models import detect, still
from tests.support.noise.processing import processed
from tests.support.noise.simulated_recordings import raw

STATED = pg.NoiseModel(gain=8.0, offset=100.0, variance=36.0)


@pytest.fixture(scope="module")
def rescaled() -> np.ndarray:
    """Rescaled after digitization: neighbouring levels differ beyond chance."""
    return np.rint(0.6 * detect(still(frames=48, size=64))).astype(np.uint16)


def accepted(url) -> list[str] | None:
    return json.loads((url / ".zattrs").read_text()).get("accepted_processed")


def test_encode_refuses_it_unless_it_is_accepted(rescaled, tmp_path):
    with pytest.raises(InvalidInputError, match=r"uneven levels.*accept_processed=True"):
        pg.encode(rescaled, tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()
    with pytest.warns(PhotonWarning, match="uneven levels"):
        pg.encode(rescaled, tmp_path / "m.zarr", accept_processed=True, check=False)
    assert accepted(tmp_path / "m.zarr") == ["uneven levels"]


def test_what_is_kept_bit_for_bit_or_has_a_stated_model_is_not_asked(rescaled, tmp_path):
    pg.encode(rescaled, tmp_path / "exact.zarr", layout="lossless", check=False)
    pg.encode(rescaled, tmp_path / "stated.zarr", noise=STATED, trust_noise=True, check=False)
    pg.encode(detect(still(frames=48, size=64)), tmp_path / "raw.zarr", accept_processed=True, check=False)
    assert [accepted(tmp_path / f"{name}.zarr") for name in ("exact", "stated", "raw")] == [None] * 3


def test_encode_many_refuses_it_unless_it_is_accepted(rescaled, tmp_path):
    with pytest.raises(BatchError, match="accept_processed=True"):
        pg.encode_many([rescaled], [tmp_path / "m.zarr"])
    with pytest.warns(PhotonWarning, match="uneven levels"):
        pg.encode_many([rescaled], [tmp_path / "m.zarr"], accept_processed=True)
    assert accepted(tmp_path / "m.zarr") == ["uneven levels"]


@pytest.mark.parametrize("accept", [False, True])
def test_a_recording_keeps_every_bit_unless_it_is_accepted(rescaled, tmp_path, accept):
    options = {"estimate_frames": 48, "check": False, "accept_processed": accept, "layout": "compact"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pg.LiveWriter(
            tmp_path / "m.zarr", frame_shape=rescaled.shape[1:], dtype=rescaled.dtype, **options
        ) as writer:
            for frame in rescaled:
                writer.append(frame)
    with pg.open(tmp_path / "m.zarr") as movie:
        assert movie.attrs["layout"] == ("compact" if accept else "lossless")
    assert accepted(tmp_path / "m.zarr") == (["uneven levels"] if accept else None)
    assert any("accept_processed=True" in text for text in writer.status().notes) == (not accept)


def test_a_movie_to_insert_takes_the_setting():
    assert pg.movie(np.zeros((4, 8, 8), np.uint16), accept_processed=True).settings.accept_processed


@pytest.fixture(scope="module")
def raw_movie() -> np.ndarray:
    return raw(2000, detector="ccd", gain=20.0, photons=15.0, trouble="still", frames=96).frames


def sharpened_in_time(frames: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(frames.astype(float), (3, 0, 0))
    return np.rint(smooth + 1.15 * (frames - smooth)).astype(np.uint16)


def gamma(frames: np.ndarray) -> np.ndarray:
    """Stored as floats, which have no levels that could be uneven."""
    low, high = float(frames.min()), float(frames.max())
    return (1000 * ((frames - low) / (high - low)) ** 1.5).astype(np.float32)


WARNED = {
    "gamma": (gamma, "bent curve"),
    "gamma 1.5": (lambda frames: processed("gamma 1.5", frames, 0), "uneven levels"),
    "stretch per frame": (lambda frames: processed("stretch per frame", frames, 0), "stretched frames"),
    "sharpened in time": (sharpened_in_time, "spectrum"),
}


@pytest.mark.parametrize("processing", WARNED)
def test_each_kind_that_a_warning_names_is_asked_for(processing, raw_movie, tmp_path):
    process, name = WARNED[processing]
    with pytest.raises(InvalidInputError, match=rf"looks? processed \(.*{name}.*accept_processed=True"):
        pg.encode(process(raw_movie), tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotonWarning)
        pg.encode(process(raw_movie), tmp_path / "m.zarr", accept_processed=True, check=False)
    assert name in accepted(tmp_path / "m.zarr")


@pytest.mark.parametrize("processing", ["z-score", "interleaved", "sqrt"])
def test_each_kind_that_has_no_noise_model_is_an_error_even_if_accepted(processing, raw_movie, tmp_path):
    with pytest.raises(InvalidInputError, match="its noise cannot be modelled"):
        pg.encode(processed(processing, raw_movie, 0), tmp_path / "m.zarr", accept_processed=True)
    assert not (tmp_path / "m.zarr").exists()
