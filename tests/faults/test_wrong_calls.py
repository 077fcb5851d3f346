"""Wrong arguments to public functions: a PhotonError that says what is allowed, never a raw exception."""

from __future__ import annotations

import inspect
import shutil
import warnings

import h5py
import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
import photon_gpu.live
from photon_gpu.live import SourceFeed, WatchFeed
from photon_gpu.reader.export import export
from photon_gpu.sources.select.open_options import OpenOptions
from photon_gpu.tools import cost
from photon_gpu.tools.profiling.preset_for_camera import Camera
from tests.support.hostile_input_counts import count

COUNTS = np.random.default_rng(0).poisson(30, (6, 8, 8)).astype("uint16")
LONGER = np.random.default_rng(1).poisson(30, (9, 8, 8)).astype("uint16")
MODEL = pg.NoiseModel(gain=1.0)

WRONG = (
    None,
    True,
    -1,
    1.5,
    float("nan"),
    10**30,
    "",
    "1",
    "a\0b",
    "x" * 5000,
    b"x",
    [],
    {1: 2},
    (1, "a"),
    object(),
    np.zeros(3),
)
"""Each is in turn the value of each parameter. Some are allowed; then the call must work."""

SETTINGS = {"noise": MODEL, "check": False}
LIVE = {"url": "live.zarr", "frame_shape": (8, 8), "dtype": "uint16", **SETTINGS}

# Name, function, and right arguments; "MOVIE" stands for the path of a stored movie.
CALLS = {
    "encode": (pg.encode, {"source": COUNTS, "url": "out.zarr", "overwrite": True, **SETTINGS}),
    "open": (pg.open, {"url": "MOVIE"}),
    "verify": (pg.verify, {"url": "MOVIE"}),
    "repair": (pg.repair, {"url": "MOVIE", "source": COUNTS}),
    "fidelity": (pg.fidelity, {"source": COUNTS, "movie": "MOVIE"}),
    "choose": (
        pg.choose,
        {"source": LONGER, "noise": MODEL, "steps": [0.5], "redraws": 4, "analysis": np.mean},
    ),
    "estimate_noise": (pg.estimate_noise, {"source": COUNTS}),
    "recover": (pg.recover, {"where": "MOVIE"}),
    "LiveWriter": (pg.LiveWriter, LIVE),
    "WatchFeed": (WatchFeed, {"folder": "FOLDER", "idle_seconds": 0.02}),
    "record": (photon_gpu.live.record, {"feed": SourceFeed(pg.open_source(COUNTS)), "url": "live.zarr"}),
    "export": (export, {"movie": "OPENED", "path": "out.npy", "overwrite": True}),
    "movie": (pg.movie, {"source": COUNTS}),
    "open_source": (pg.open_source, {"obj": COUNTS}),
    "Storage.at": (pg.Storage.at, {"url": "somewhere"}),
    "NoiseModel": (pg.NoiseModel, {}),
    "Predictor": (pg.Predictor, {}),
    "Compressor": (pg.Compressor, {}),
    "Compressor.parse": (pg.Compressor.parse, {"text": "zstd-1-none"}),
    "Simulation": (pg.Simulation, {"frames": 2, "height": 8, "width": 8}),
    "simulate": (pg.simulate, {"frames": 2, "height": 8, "width": 8}),
    "anscombe": (pg.anscombe, {"values": COUNTS, "noise": MODEL}),
    "inverse_anscombe": (pg.inverse_anscombe, {"stabilized": 3.0, "noise": MODEL}),
    "inverse_unbiased": (pg.inverse_anscombe_unbiased, {"denoised": 3.0, "noise": MODEL}),
    "cost.from_shape": (cost.from_shape, {"shape": (6, 8, 8)}),
    "cost.from_movie": (cost.from_movie, {"url": "MOVIE"}),
    "cost.from_source": (cost.from_source, {"source": COUNTS, "encode_options": SETTINGS}),
    "Camera.parse": (Camera.parse, {"text": "512x512x30", "dtype": "uint16"}),
}
LEFT_OUT = {"client"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    movie = tmp_path_factory.mktemp("calls") / "m.zarr"
    pg.encode(COUNTS, movie, noise=MODEL, check=False)
    return movie


def make_source(folder, name):
    folder.mkdir(exist_ok=True)
    path = folder / name
    if name == "m.npy":
        np.save(path, COUNTS)
    elif name == "m.tif":
        tifffile.imwrite(path, COUNTS, photometric="minisblack")
    elif name == "m.raw":
        COUNTS.tofile(path)
    elif name == "m.h5":
        with h5py.File(path, "w") as file:
            file["movie"] = COUNTS
    else:
        zarr.open(path, mode="w", shape=COUNTS.shape, dtype=COUNTS.dtype)[:] = COUNTS
    return path


def parameters(function):
    taken = inspect.signature(pg.Simulation if function is pg.simulate else function).parameters.values()
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p.name for p in taken if p.kind not in variable and p.name not in LEFT_OUT]


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_refused_by_name(name, stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore")
    function, right = CALLS[name]
    places = {"MOVIE": stored, "OPENED": pg.open(stored), "FOLDER": tmp_path / "in"}
    make_source(tmp_path / "in", "m.tif")
    right = {
        key: places.get(value, value) if isinstance(value, str) else value for key, value in right.items()
    }
    tried, raw = 0, []
    for parameter in parameters(function):
        for value in WRONG:
            tried += 1
            what = f"{parameter}={str(value)[:40]!r}"
            try:
                done = function(**{**right, parameter: value})
                if isinstance(done, pg.LiveWriter):
                    done.close()
                shutil.rmtree("live.zarr", ignore_errors=True)
            except pg.PhotonError as error:
                if len(str(error)) > 800:
                    raw.append(f"{what}: {len(str(error))} characters")
            except Exception as error:
                raw.append(f"{what}: {type(error).__name__}: {str(error)[:100]}")
    count("wrong calls", tried, tried - len(raw))
    assert not raw, "\n".join(raw)


@pytest.mark.parametrize("name", ["m.npy", "m.tif", "m.raw", "m.h5", "m.zarr"])
def test_a_wrong_option_of_a_source_is_refused_by_name(name, tmp_path):
    path = make_source(tmp_path, name)
    right = {"shape": (8, 8), "dtype": "uint16"} if name == "m.raw" else {}
    tried, raw = 0, []
    for option in (*OpenOptions.__annotations__, "unknown"):
        for value in (*WRONG, np.int64(1), slice("a", "b"), "0:5"):
            tried += 1
            try:
                with pg.open_source(path, **{**right, option: value}) as source:
                    source.read(0, 1)
            except pg.PhotonError:
                continue
            except Exception as error:
                raw.append(f"{option}={str(value)[:40]!r}: {type(error).__name__}: {str(error)[:100]}")
    count("wrong calls", tried, tried - len(raw))
    assert not raw, "\n".join(raw)


@pytest.mark.parametrize("name", ["frame_metadata", "to_dask", "chunk_bytes", "counts.sum", "counts.var"])
def test_a_wrong_argument_of_an_opened_movie_is_refused_by_name(name, stored):
    movie = pg.open(stored)
    method = getattr(movie.counts if "." in name else movie, name.removeprefix("counts."))
    raw = []
    for parameter in parameters(method):
        for value in (*WRONG, slice(0, 2), float("inf"), np.arange(2)):
            try:
                method(**{parameter: value})
            except pg.PhotonError:
                continue
            except Exception as error:
                raw.append(f"{parameter}={str(value)[:40]!r}: {type(error).__name__}: {str(error)[:100]}")
    assert not raw, "\n".join(raw)
