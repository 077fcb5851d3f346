"""The same driver drives acquire-zarr, ome-writers and ours."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.live.stream import FrameStream

MOVIE = np.random.default_rng(0).poisson(20, (12, 16, 24)).astype("uint16")


def drive(stream):
    """What acquisition software does with a sink."""
    for frame in MOVIE:
        stream.append(frame)
    stream.close()


def test_acquire_zarr_is_driven_alike(tmp_path):
    az = pytest.importorskip("acquire_zarr", reason="pip install acquire-zarr")
    zarr = pytest.importorskip("zarr")
    kinds = (az.DimensionType.TIME, az.DimensionType.SPACE, az.DimensionType.SPACE)
    dimensions = [
        az.Dimension(name=n, kind=k, array_size_px=s, chunk_size_px=c, shard_size_chunks=1)
        for n, k, s, c in zip("tyx", kinds, (0, 16, 24), (5, 16, 24), strict=True)
    ]
    array = az.ArraySettings(dimensions=dimensions, data_type=az.DataType.UINT16)
    drive(
        az.ZarrStream(
            az.StreamSettings(store_path=str(tmp_path / "a.zarr"), version=az.ZarrVersion.V3, arrays=[array])
        )
    )
    drive(FrameStream(tmp_path / "ours.zarr", (16, 24), "uint16", layout="lossless", chunk_frames=5))
    found = zarr.open(str(tmp_path / "a.zarr"), mode="r")
    theirs = found[...] if hasattr(found, "shape") else next(iter(found.arrays()))[1][...]
    assert np.array_equal(pg.open(tmp_path / "ours.zarr").counts[...], theirs)


def test_every_public_method_of_ome_writers_stream_that_moves_frames_is_there():
    ome = pytest.importorskip("ome_writers", reason="pip install ome-writers")
    assert {"append", "skip", "close", "__enter__", "__exit__"} <= set(dir(ome.OMEStream)) & set(
        dir(FrameStream)
    )


def test_skipped_frames_are_marked(tmp_path):
    with FrameStream(tmp_path / "m.zarr", (16, 24), "uint16", layout="lossless") as stream:
        stream.append(MOVIE[0], frame_metadata={"delta_t": 0.5})
        stream.skip()
        assert stream.is_active() and stream.get_current_memory_usage() > 0
        with pytest.raises(InvalidInputError, match="frames is 0"):
            stream.skip(frames=0)
    assert not stream.is_active()
    movie = pg.open(tmp_path / "m.zarr")
    assert not movie.counts[1].any() and movie.frame_metadata(1) == {"skipped": True}
    assert movie.timestamps[0] == 0.5
