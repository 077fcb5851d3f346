"""The reader of napari, found and run as napari does it: by npe2's plugin manager."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from npe2.io_utils import read

import photon_gpu as pg

TWO = [pg.NoiseModel(), pg.NoiseModel(variance=1.0)]


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    """A plugin manager that knows this plugin only."""
    manager = PluginManager(disable=[])
    manager.register(PluginManifest.from_file(str(files("photon_gpu.interop") / "napari.yaml")))
    monkeypatch.setattr(PluginManager, "instance", lambda: manager)
    return manager


def stored(tmp_path, shape=(23, 9, 11), **options):
    frames = np.random.default_rng(2).poisson(25, shape).astype("uint16")
    source = pg.open_source(frames)
    source.recording = source.recording.replace(
        pixel_size={"y": (0.5, "um"), "x": (0.25, "um")}, frame_rate=30.0, **options.pop("recording", {})
    )
    path = tmp_path / options.pop("name", "m.zarr")
    pg.encode(source, path, chunk_frames=5, check=False, **{"noise": TWO[0], **options})
    return str(path)


def test_napari_finds_the_manifest():
    (entry,) = [one for one in entry_points(group="napari.manifest") if one.name == "photon-gpu"]
    assert entry.value == "photon_gpu.interop:napari.yaml"


def test_a_movie_is_a_lazy_layer_with_scale_units_and_contrast(tmp_path, monkeypatch):
    path = stored(tmp_path, layout="compact")
    chunks = []
    chunk_bytes = pg.Movie.chunk_bytes
    monkeypatch.setattr(
        pg.Movie, "chunk_bytes", lambda self, number: chunks.append(number) or chunk_bytes(self, number)
    )
    ((data, look, layer_type),) = read([path], stack=False)
    assert set(chunks) == {2}, "one frame tells the contrast"
    assert (layer_type, look["name"], look["axis_labels"]) == ("image", "m", ["t", "y", "x"])
    assert look["units"] == ["s", "µm", "µm"]
    np.testing.assert_allclose(look["scale"], [1 / 30, 0.5, 0.25])
    counts = pg.open(path).counts[...]
    low, high = look["contrast_limits"]
    assert counts.min() <= low < high <= counts.max()
    assert (data.shape, data.ndim, data.dtype) == (counts.shape, 3, counts.dtype)
    np.testing.assert_array_equal(data[7, :, 2:5], counts[7, :, 2:5])


def test_an_ome_zarr_movie_looks_like_one_in_a_folder(tmp_path):
    ((folder, look, _),) = read([stored(tmp_path, layout="compact")], stack=False)
    path = stored(tmp_path, layout="compact", name="m.ome.zarr")
    ((data, ome_look, _),) = read([path], stack=False)
    np.testing.assert_array_equal(data[...], folder[...])
    assert {**ome_look, "metadata": {}} == {**look, "metadata": {}}


@pytest.mark.parametrize("noise", [TWO[0], TWO], ids=["one model", "a model per channel"])
def test_each_channel_is_a_layer_of_its_own(tmp_path, noise):
    recording = {"axes": "tzcyx", "channel_names": ("GCaMP", "tdTomato")}
    path = stored(tmp_path, (12, 3, 2, 9, 11), recording=recording, noise=noise)
    counts = pg.open(path).counts[...]
    layers = read([path], stack=False)
    assert [look["name"] for _, look, _ in layers] == ["GCaMP", "tdTomato"]
    for number, (data, look, _) in enumerate(layers):
        assert not isinstance(data, np.ndarray) and data.shape == (12, 3, 9, 11)
        assert look["axis_labels"] == ["t", "z", "y", "x"] and len(look["scale"]) == len(look["units"]) == 4
        np.testing.assert_array_equal(np.asarray(data[5, 1]), counts[5, 1, number])


@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr"])
def test_napari_itself_opens_a_movie(tmp_path, name):
    """Its model of a viewer; the window needs OpenGL, which Qt has not offscreen."""
    components = pytest.importorskip("napari.components", reason="pip install 'photon-gpu[napari]'")
    path = stored(tmp_path, layout="compact", name=name)
    viewer = components.ViewerModel()
    (layer,) = viewer.open(path, plugin="photon-gpu")
    counts = pg.open(path).counts[...]
    viewer.dims.set_current_step(0, 7)
    np.testing.assert_array_equal(layer._slice.image.raw, counts[7])
    assert layer.source.reader_plugin == "photon-gpu" and layer.axis_labels == ("t", "y", "x")
    np.testing.assert_allclose(layer.scale, [1 / 30, 0.5, 0.25])


def test_what_is_no_movie_is_left_to_others(tmp_path):
    (tmp_path / "other.zarr").mkdir()
    with pytest.raises(ValueError, match="No readers"):
        read([str(tmp_path / "other.zarr")], stack=False)
