"""The same driver drives acquire-zarr, ome-writers and ours."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.live.ome_writers_stream import FrameStream

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
    result = zarr.open(str(tmp_path / "a.zarr"), mode="r")
    theirs = result[...] if hasattr(result, "shape") else next(iter(result.arrays()))[1][...]
    assert np.array_equal(pg.open(tmp_path / "ours.zarr").counts[...], theirs)


def test_ome_writers_is_driven_alike(tmp_path):
    ome = pytest.importorskip("ome_writers", reason="pip install ome-writers")
    zarr = pytest.importorskip("zarr")

    def drive_all(stream):
        for t, frame in enumerate(MOVIE[:6]):
            stream.append(frame, frame_metadata={"delta_t": t / 30, "position_z": 1.5})
        stream.skip(frames=2)
        for frame in MOVIE[8:]:
            stream.append(frame)
        stream.close()

    settings = ome.AcquisitionSettings(
        root_path=str(tmp_path / "a.ome.zarr"),
        dimensions=ome.dims_from_standard_axes({"t": 12, "y": 16, "x": 24}),
        dtype="uint16",
        overwrite=True,
    )
    drive_all(ome.create_stream(settings))
    drive_all(FrameStream(tmp_path / "ours.zarr", (16, 24), "uint16", layout="lossless", chunk_frames=5))
    theirs = zarr.open_array(str(tmp_path / "a.ome.zarr/0"), mode="r")[...]
    ours = pg.open(tmp_path / "ours.zarr")
    assert np.array_equal(ours.counts[...], theirs) and not theirs[6:8].any()
    assert ours.timestamps[:6].tolist() == [t / 30 for t in range(6)]
    assert ours.frame_metadata(5) == {"delta_t": 5 / 30, "position_z": 1.5}


def test_every_method_of_ome_writers_stream_that_moves_frames_takes_what_theirs_takes():
    ome = pytest.importorskip("ome_writers", reason="pip install ome-writers")
    for name in ("append", "skip", "close"):
        theirs = inspect.signature(getattr(ome.OMEStream, name)).parameters
        ours = inspect.signature(getattr(FrameStream, name)).parameters
        assert [(p.name, p.kind, p.default) for p in ours.values()] == [
            (p.name, p.kind, p.default) for p in theirs.values()
        ]


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
