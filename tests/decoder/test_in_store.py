"""A store that holds its decoder decodes by it alone; the decoder is a file of the movie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard
from typer.testing import CliRunner

import photon_gpu as pg
from photon_gpu.cli.app import app
from photon_gpu.errors import StoreExistsError

NOISE = pg.NoiseModel()
FRAMES = np.random.default_rng(5).poisson(9, (7, 16, 24)).astype("uint16")
NAME = "photon_decode.py"


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


@pytest.mark.parametrize("write", [by_encode, by_encode_many, by_live, by_command])
def test_the_store_decodes_by_its_own_decoder(tmp_path, write, numpy_and_zstandard):
    write(tmp_path / "m.zarr")
    subprocess.run(
        [sys.executable, "-S", "m.zarr/photon_decode.py", "m.zarr", "out.npy"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(numpy_and_zstandard)},
        check=True,
        capture_output=True,
    )
    movie = pg.open(tmp_path / "m.zarr")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), movie.counts[...])
    assert NAME in movie.manifest and pg.verify(tmp_path / "m.zarr", deep=True).ok


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


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_damage_is_named_and_repaired(tmp_path, damage):
    by_encode(tmp_path / "m.zarr")
    decoder = tmp_path / "m.zarr" / NAME
    whole = decoder.read_bytes()
    if damage == "missing":
        decoder.unlink()
    else:
        decoder.write_bytes(b"#" + whole[1:])
    verification = pg.verify(tmp_path / "m.zarr")
    assert [(problem.kind, problem.name) for problem in verification.problems] == [(damage, NAME)]
    assert pg.repair(tmp_path / "m.zarr").ok and decoder.read_bytes() == whole


def test_a_manifest_made_anew_lists_it(tmp_path):
    by_encode(tmp_path / "m.zarr")
    (tmp_path / "m.zarr" / ".manifest.json").unlink()
    assert pg.repair(tmp_path / "m.zarr").ok
    assert NAME in pg.open(tmp_path / "m.zarr").manifest


@pytest.mark.filterwarnings("ignore::photon_gpu.errors.PhotonWarning")
@pytest.mark.parametrize("listed", [True, False])
def test_it_goes_with_its_movie_and_another_file_of_its_name_stays(tmp_path, listed):
    by_encode(tmp_path / "m.zarr")
    if not listed:
        (tmp_path / "m.zarr" / ".manifest.json").unlink()
    pg.encode(FRAMES, tmp_path / "m.zarr", noise=NOISE, check=False, overwrite=True)
    assert not (tmp_path / "m.zarr" / NAME).exists()
    (tmp_path / "m.zarr" / NAME).write_text("print('somebody else wrote this')")
    if not listed:
        (tmp_path / "m.zarr" / ".manifest.json").unlink()
    with pytest.raises(StoreExistsError):
        pg.encode(FRAMES, tmp_path / "m.zarr", noise=NOISE, check=False, overwrite=True)
    assert "somebody" in (tmp_path / "m.zarr" / NAME).read_text()
