"""The extractor gives roiextractors, and suite2p by slices, what they ask a recording for."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.interop.imaging_extractor import PhotonImagingExtractor


def stored(tmp_path, shape=(23, 9, 11), noise=None, **facts):
    source = pg.open_source(np.random.default_rng(2).poisson(25, shape).astype("int16"))
    source.recording = source.recording.replace(**facts)
    noise = noise or pg.NoiseModel()
    pg.encode(source, tmp_path / "m.zarr", layout="compact", chunk_frames=5, check=False, noise=noise)
    return tmp_path / "m.zarr"


def test_frames_rate_shape_and_slices(tmp_path):
    path = stored(tmp_path, frame_rate=30.0)
    counts, extractor = pg.open(path).counts[...], PhotonImagingExtractor(path)
    assert extractor.get_image_shape() == (9, 11) and extractor.get_num_samples() == 23
    assert extractor.get_sampling_frequency() == 30.0 and extractor.get_dtype() == "int16"
    np.testing.assert_array_equal(extractor.get_series(), counts)
    np.testing.assert_array_equal(extractor.get_series(4, 13), counts[4:13])
    np.testing.assert_array_equal(extractor.get_samples([20, 3, 3]), counts[[20, 3, 3]])
    np.testing.assert_allclose(extractor.get_timestamps(3, 6), np.arange(3, 6) / 30)
    part = extractor.slice_samples(5, 15).slice_field_of_view(2, 7, 1, 9)
    np.testing.assert_array_equal(part.get_series(1, 4), counts[6:9, 2:7, 1:9])
    assert "30.0Hz" in repr(extractor)


def test_times_of_the_source_give_the_rate(tmp_path):
    times = np.arange(23) / 20 + 7
    extractor = PhotonImagingExtractor(stored(tmp_path, timestamps=times))
    assert extractor.get_sampling_frequency() == pytest.approx(20)
    np.testing.assert_allclose(extractor.get_timestamps(3, 6), times[3:6])
    np.testing.assert_allclose(extractor.slice_samples(5, 15).get_native_timestamps(1, 3), times[6:8])


@pytest.mark.parametrize("noise", [None, [pg.NoiseModel(), pg.NoiseModel(variance=1.0)]])
def test_a_channel_of_volumes_has_planes_last(tmp_path, noise):
    path = stored(tmp_path, (12, 2, 3, 9, 11), noise, axes="tczyx", frame_rate=10.0)
    with pytest.raises(InvalidInputError, match="2 channels; name one: channel=0 to 1"):
        PhotonImagingExtractor(path)
    extractor = PhotonImagingExtractor(path, channel=1)
    volumes = np.moveaxis(pg.open(path).counts[:, 1], 1, -1)
    assert extractor.is_volumetric and extractor.get_volume_shape() == (9, 11, 3)
    np.testing.assert_array_equal(extractor.get_series(2, 9), volumes[2:9])
    np.testing.assert_array_equal(extractor.get_samples([8, 1]), volumes[[8, 1]])
    np.testing.assert_array_equal(extractor.select_plane(2).get_series(0, 3), volumes[:3, ..., 2])


def test_what_is_not_known_is_asked_for(tmp_path):
    path = stored(tmp_path)
    with pytest.raises(InvalidInputError, match="give sampling_frequency="):
        PhotonImagingExtractor(path)
    assert PhotonImagingExtractor(path, sampling_frequency=15).get_sampling_frequency() == 15.0
    with pytest.raises(InvalidInputError, match="channel is 1"):
        PhotonImagingExtractor(path, channel=1, sampling_frequency=15)


def test_counts_are_what_suite2p_slices(tmp_path):
    """As suite2p reads ``f_raw``: shape, chosen frames for the reference image, batches in order, a mean."""
    f_raw = pg.open(stored(tmp_path, (250, 9, 11))).counts
    whole = f_raw[...]
    frames, height, width = f_raw.shape
    assert f_raw.dtype == "int16" and (height, width) == (9, 11)
    chosen = np.linspace(0, frames, 1 + min(40, frames), dtype=int)[:-1]
    np.testing.assert_array_equal(f_raw[chosen], whole[chosen])
    for first in range(0, frames, 100):
        batch = f_raw[first : min(first + 100, frames)]
        np.testing.assert_array_equal(batch.astype(np.float32), whole[first : first + 100])
    np.testing.assert_allclose(f_raw[::7].mean(axis=0), whole[::7].mean(axis=0))
