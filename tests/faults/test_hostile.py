"""Hostile metadata (petabytes, negatives, pickles, path tricks): a clear, quick error in little memory."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import photon_gpu as pg
from photon_gpu.errors import PhotonError
from photon_gpu.store.claim import MARKER
from tests.support.faults.interrupted_recordings import frames
from tests.support.faults.interrupted_recordings import settings as recording
from tests.support.hostile_input_counts import counted

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with pg.LiveWriter(folder / "m.zarr", **recording()) as live:
        live.append(frames(0, 6), timestamp=list(range(6)))
    return folder / "m.zarr"


@pytest.fixture
def copy(store, memory_disk):
    shutil.copytree(store, memory_disk / "m.zarr")
    return memory_disk / "m.zarr"


def _try_all(movie_folder):
    with counted("hostile metadata and files"):
        return _try_each(movie_folder)


def _try_each(movie_folder):
    """Everything a user does with a store he was given; returns what the movie gave, or None."""
    out = None
    try:
        movie = pg.open(movie_folder, workers=1)
        out = movie.counts[0]
        _ = movie.timestamps, movie.frame_metadata(0)
    except (PhotonError, OSError, IndexError):
        pass
    with contextlib.suppress(PhotonError):
        assert out is None or not pg.verify(movie_folder).ok or np.array_equal(out, frames(0, 1)[0])
    with contextlib.suppress(PhotonError, OSError):
        pg.recover(movie_folder, workers=1)
    return out


def _cases():
    return sorted(path.name for path in CORPUS.iterdir()) if CORPUS.is_dir() else []


def test_the_corpus_is_there():
    assert len(_cases()) >= 40


@pytest.mark.parametrize("case", _cases())
def test_the_corpus_of_hostile_metadata(copy, case, memory_disk):
    """``NAME__what-it-does``: the content of file NAME, with ``%2F`` for slashes."""
    name = case.split("__")[0].replace("%2F", "/")
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes((CORPUS / case).read_bytes())
    outside = set(memory_disk.iterdir())
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    out = _try_all(copy)
    assert out is None or np.array_equal(out, frames(0, 1)[0]) or not pg.verify(copy).ok
    assert time.monotonic() - began < 20  # no hang, not a speed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert set(memory_disk.iterdir()) == outside
    assert not os.path.exists("/tmp/photon-was-here")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=8,
)


fuzzed = settings(
    max_examples=int(os.environ.get("EXAMPLES", "150")),
    deadline=None,
    derandomize="EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@fuzzed
@given(data=st.data())
def test_any_value_in_any_place_of_any_metadata(store, tmp_path_factory, data):
    name = data.draw(st.sampled_from([".zarray", ".zattrs", ".manifest.json", ".frames/0.json", MARKER]))
    movie_folder = tmp_path_factory.mktemp("fuzz") / "m.zarr"
    shutil.copytree(store, movie_folder)
    try:
        path = movie_folder / name
        content = (
            json.loads(path.read_bytes())
            if path.exists()
            else {"token": "t", "recording": True, "spool": None}
        )
        key = data.draw(st.sampled_from(sorted(content)))
        content[key] = data.draw(_JSON)
        path.write_text(json.dumps(content))
        out = _try_all(movie_folder)
        assert out is None or out.shape == frames(0, 1)[0].shape or not pg.verify(movie_folder).ok
    finally:
        shutil.rmtree(movie_folder)


@fuzzed
@given(data=st.data())
def test_any_bytes_as_any_file(store, tmp_path_factory, data):
    name = data.draw(
        st.sampled_from([".zarray", ".zattrs", ".manifest.json", ".frames/0.json", "0.0.0", MARKER])
    )
    movie_folder = tmp_path_factory.mktemp("fuzz") / "m.zarr"
    shutil.copytree(store, movie_folder)
    try:
        path = movie_folder / name
        old = path.read_bytes() if path.exists() else b"{}"
        cut = data.draw(st.integers(0, len(old)))
        path.write_bytes(
            old[:cut] + data.draw(st.binary(max_size=40)) + old[cut + data.draw(st.integers(0, 40)) :]
        )
        _try_all(movie_folder)
    finally:
        shutil.rmtree(movie_folder)


@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr"])
def test_a_folder_or_a_link_to_itself_in_place_of_a_file_is_reported(memory_disk, name):
    movie, whole, path = frames(0, 6), memory_disk / f"whole-{name}", memory_disk / name
    pg.encode(movie, whole, noise=pg.NoiseModel(), layout="compact", check=False)
    for file in sorted(one.relative_to(whole) for one in whole.rglob("*") if one.is_file()):
        for replace in (Path.mkdir, lambda path: path.symlink_to(path)):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(whole, path)
            (path / file).unlink()
            replace(path / file)
            assert not pg.verify(path).ok, file
            for use in (lambda: pg.open(path).counts[...], lambda: pg.repair(path, movie)):
                with contextlib.suppress(PhotonError, pg.PhotonWarning):
                    use()
