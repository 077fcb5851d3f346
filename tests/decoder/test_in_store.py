"""A store that holds its decoder decodes by it alone; the decoder is a file of the movie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
import zstandard
from typer.testing import CliRunner

import photon_gpu as pg
from photon_gpu.cli.app import app
from photon_gpu.errors import StoreExistsError
from photon_gpu.store.ome_zarr import shards

NOISE = pg.NoiseModel()
FRAMES = np.random.default_rng(5).poisson(9, (7, 16, 24)).astype("uint16")
NAME = "photon_decode.py"
STORES = {"m.zarr": NAME, "m.ome.zarr": f"0/{NAME}"}
"""Names of movies, one in each container, and where the decoder lies in them."""


@pytest.fixture(autouse=True)
def two_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * FRAMES[:3].nbytes)


def by_encode(path):
    pg.encode(FRAMES, path, noise=NOISE, layout="compact", chunk_frames=3, check=False, with_decoder=True)


def by_encode_many(path):
    options = {"noise": NOISE, "layout": "compact", "check": False, "with_decoder": True}
    pg.encode_many([FRAMES], [path], **options)


def by_live(path):
    with pg.LiveWriter(
        path,
        frame_shape=(16, 24),
        dtype="uint16",
        noise=NOISE,
        chunk_frames=3,
        check=False,
        with_decoder=True,
    ) as live:
        live.append(FRAMES)


def by_command(path):
    np.save(path.with_suffix(".npy"), FRAMES)
    line = ["encode", str(path.with_suffix(".npy")), str(path), "--gain", "1", "--check", "off"]
    done = CliRunner().invoke(app, [*line, "--layout", "compact", "--with-decoder"])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def numpy_and_zstandard(tmp_path_factory):
    """A folder with these packages and no other."""
    folder = tmp_path_factory.mktemp("packages")
    for package in (np, zstandard):
        package_folder = Path(package.__file__).parent
        for beside in (package_folder, package_folder.with_name(f"{package_folder.name}.libs")):
            if beside.exists():
                (folder / beside.name).symlink_to(beside)
    return folder


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("write", [by_encode, by_encode_many, by_live, by_command])
def test_the_store_decodes_by_its_own_decoder(tmp_path, write, name, numpy_and_zstandard):
    write(tmp_path / name)
    subprocess.run(
        [sys.executable, "-S", f"{name}/{STORES[name]}", name, "out.npy"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(numpy_and_zstandard)},
        check=True,
        capture_output=True,
    )
    movie = pg.open(tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), movie.counts[...])
    assert NAME in movie.manifest and pg.verify(tmp_path / name, deep=True).ok


def test_the_command_needs_nothing_else(numpy_and_zstandard):
    code = "import numpy, zstandard, photon_gpu"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(numpy_and_zstandard)},
        capture_output=True,
        text=True,
        cwd=numpy_and_zstandard,
    )
    assert "No module named 'photon_gpu'" in done.stderr


def test_a_movie_to_insert_takes_the_setting():
    assert pg.movie(FRAMES, with_decoder=True).settings_for("plain").with_decoder


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_damage_is_named_and_repaired(tmp_path, damage, name):
    by_encode(tmp_path / name)
    decoder = tmp_path / name / STORES[name]
    whole = decoder.read_bytes()
    if damage == "missing":
        decoder.unlink()
    else:
        decoder.write_bytes(b"#" + whole[1:])
    verification = pg.verify(tmp_path / name)
    assert [(problem.kind, problem.name) for problem in verification.problems] == [(damage, NAME)]
    assert pg.repair(tmp_path / name).ok and decoder.read_bytes() == whole


@pytest.mark.parametrize("name", STORES)
def test_a_manifest_made_anew_lists_it(tmp_path, name):
    by_encode(tmp_path / name)
    (tmp_path / name / STORES[name]).with_name(".manifest.json").unlink()
    assert pg.repair(tmp_path / name).ok
    assert NAME in pg.open(tmp_path / name).manifest


def test_readers_of_ome_zarr_do_not_see_it(tmp_path, recwarn):
    by_encode(tmp_path / "m.ome.zarr")
    group = zarr.open_group(tmp_path / "m.ome.zarr", mode="r")
    assert [name for name, _ in group.members(max_depth=None)] == ["0"]
    assert not [warning for warning in recwarn if "photon_decode" in str(warning.message)]


@pytest.mark.filterwarnings("ignore::photon_gpu.errors.PhotonWarning")
@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("listed", [True, False])
def test_it_goes_with_its_movie_and_another_file_of_its_name_stays(tmp_path, listed, name):
    by_encode(tmp_path / name)
    decoder = tmp_path / name / STORES[name]
    if not listed:
        decoder.with_name(".manifest.json").unlink()
    pg.encode(FRAMES, tmp_path / name, noise=NOISE, check=False, overwrite=True)
    assert not decoder.exists()
    decoder.write_text("print('somebody else wrote this')")
    if not listed:
        decoder.with_name(".manifest.json").unlink()
    with pytest.raises(StoreExistsError):
        pg.encode(FRAMES, tmp_path / name, noise=NOISE, check=False, overwrite=True)
    assert "somebody" in decoder.read_text()
