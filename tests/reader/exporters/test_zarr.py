"""Export to OME-Zarr: counts that readers open without photon_gpu, and what is known of the recording."""

from __future__ import annotations

import numpy as np
import pytest
import tensorstore
import zarr
from ome_zarr_models import open_ome_zarr
from typer.testing import CliRunner

import photon_gpu as pg
from photon_gpu.cli.app import app
from photon_gpu.errors import InvalidInputError, StoreExistsError
from photon_gpu.reader.export import export
from photon_gpu.recording import Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.store.claim import Claim
from photon_gpu.store.ome_zarr import shards

FRAMES = np.random.default_rng(3).poisson(30, (11, 2, 8, 9)).astype("uint16")
TIMES = np.arange(11) / 4


@pytest.fixture(autouse=True)
def two_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * FRAMES[:3].nbytes)


@pytest.fixture
def movie(tmp_path):
    source = ArraySource(FRAMES)
    source.recording = Recording(
        axes="tcyx",
        channel_names=("green", "red"),
        pixel_size={"y": (0.5, "µm"), "x": (0.25, "µm")},
        frame_rate=4.0,
        timestamps=TIMES,
    )
    pg.encode(
        source, tmp_path / "m.zarr", noise=pg.NoiseModel(), layout="compact", chunk_frames=3, check=False
    )
    return pg.open(tmp_path / "m.zarr")


def test_the_command_writes_an_image_that_needs_no_codec_of_photon_gpu(movie, tmp_path):
    out = tmp_path / "o.ome.zarr"
    done = CliRunner().invoke(app, ["decode", str(tmp_path / "m.zarr"), str(out), "--frames", "2:10"])
    assert done.exit_code == 0 and "OME-Zarr 0.5" in done.output, done.output
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{out}/0/"}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), movie.counts[2:10])
    image = open_ome_zarr(zarr.open_group(out, mode="r")).attributes.ome
    (multiscale,), channels = image.multiscales, image.omero["channels"]
    assert [(axis.name, axis.unit) for axis in multiscale.axes] == [
        ("t", "second"),
        ("c", None),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    assert multiscale.datasets[0].coordinateTransformations[0].scale == [0.25, 1.0, 0.5, 0.25]
    assert [channel["label"] for channel in channels] == ["green", "red"]
    window = channels[0]["window"]
    assert 10 < window["start"] < window["end"] < 60
    with pg.open_source(out) as again:
        np.testing.assert_array_equal(again.read(0, 8), movie.counts[2:10])
        assert again.recording.channel_names == ("green", "red")
        np.testing.assert_array_equal(again.recording.timestamps, TIMES[2:10])


def test_stabilized_values_and_their_contrast(movie, tmp_path):
    report = export(movie, tmp_path / "o.ome.zarr", stabilized=True)
    group = zarr.open_group(tmp_path / "o.ome.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][...], movie[...])
    assert group.attrs["ome"]["omero"]["channels"][0]["window"]["end"] < 2 * 60**0.5
    assert report.stored_bytes == sum(
        path.stat().st_size for path in (tmp_path / "o.ome.zarr").rglob("*") if path.is_file()
    )


def test_it_is_replaced_as_a_whole_and_so_is_what_a_kill_left(movie, tmp_path, monkeypatch):
    out = tmp_path / "o.ome.zarr"

    def fails(done, total):
        if done > 6:
            raise RuntimeError("killed")

    with monkeypatch.context() as killed, pytest.raises(RuntimeError):
        killed.setattr(Claim, "__exit__", lambda self, *error: self._let_go())
        export(movie, out, progress=fails)
    assert (out / "0/c/0/0/0/0").exists()
    for frames in ((0, 11), (4, 6)):
        with pytest.raises(StoreExistsError):
            export(movie, out, frames=frames)
        export(movie, out, frames=frames, overwrite=True)
        array = zarr.open_group(out, mode="r")["0"]
        np.testing.assert_array_equal(array[...], movie.counts[slice(*frames)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.zarr", "o.ome.zarr"]


def test_axes_that_ome_does_not_allow_are_refused(tmp_path):
    pg.encode(FRAMES, tmp_path / "m.zarr", axes="tsyx", layout="lossless")
    with pytest.raises(InvalidInputError, match=r"give a name such as movie\.zarr"):
        export(pg.open(tmp_path / "m.zarr"), tmp_path / "o.ome.zarr")
    assert not (tmp_path / "o.ome.zarr").exists()
