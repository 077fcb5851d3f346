"""Small files that ask for much memory, time, or other files are refused before anything is allocated."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile

import numcodecs.blosc
import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
from photon_gpu.engine.codec.encoding import _table
from photon_gpu.engine.codec.header import Header
from photon_gpu.engine.codec.predictors import NAMES, TERMS
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.estimate.noise_check import _decoded
from photon_gpu.kernels.cpu_rans import code_levels
from photon_gpu.plugins.numcodecs_photon import Photon
from photon_gpu.plugins.zarr3_photon import PhotonZarr3
from photon_gpu.store.manifest import entry, pack, read
from photon_gpu.store.ome_zarr.metadata import folder_files

pytestmark = pytest.mark.timeout(60)
RECORDING = {"frame_shape": (8, 8), "dtype": "uint16", "chunk_frames": 5, "noise": pg.NoiseModel()}
COUNTS = np.random.default_rng(0).poisson(9, (20, 16, 16)).astype("uint16")


@pytest.fixture
def stored(tmp_path):
    pg.encode(COUNTS, tmp_path / "m.zarr", layout="compact", chunk_frames=10, noise=pg.NoiseModel())
    return tmp_path / "m.zarr"


def sign_again(movie):
    """Make the manifest agree with the files, as an attacker can."""
    files = {str(path.relative_to(movie)): path.read_bytes() for path in movie.rglob("*") if path.is_file()}
    chunks = {name: entry(data) for name, data in files.items() if name[0].isdigit() or "/" in name}
    (movie / ".manifest.json").write_bytes(pack(chunks, {n: files[n] for n in (".zattrs", ".zarray")}))


def black(frames, rows):
    """A coded payload of 170 bytes: one band of zeros, ``rows`` of 1024 columns."""
    words, zeros = np.empty(100_000, np.uint16), np.zeros(rows * 1024, np.uint8)
    stream = words[code_levels(zeros, np.array([zeros.size, 0]), words) :].astype("<u2").tobytes()
    header = Header(
        predictor=NAMES.index("spatial"),
        width=1,
        exact=True,
        phases=1,
        dtype="uint8",
        frames=frames,
        base=0,
        checksum=0,
        band_rows=rows,
        seed=0,
        rate=8,
        top=0,
        gain=1,
        offset=0,
        variance=0,
        step=0.5,
        coded=True,
        levels=2,
        shape=(frames, rows, 1024),
    )
    return header.pack() + struct.pack("<I", len(stream) // 2) + stream


@pytest.mark.parametrize(
    ("frames", "rows", "says"),
    [
        (1, 2**12, "4,096 rows of 1,024 columns; at most 256 are read"),
        (8000, 2**8, "would take 2,097,152,000 bytes; the limit is 256"),
    ],
)
def test_a_chunk_of_a_hundred_bytes_opens_to_no_more_than_the_array_holds(tmp_path, frames, rows, says):
    """Through Zarr's own reader, in an array of 256 pixels."""
    movie = tmp_path / "m.zarr"
    coded = pg.Predictor(name="spatial", levels=2, coded=True, weights=((0,) * TERMS,) * 2)
    pixels = np.zeros((1, 16, 16), "uint8")
    pg.encode(pixels, movie, layout="compact", noise=pg.NoiseModel(), predictor=coded, check=False)
    (movie / "0.0.0").write_bytes(numcodecs.blosc.compress(black(frames, rows), b"zstd", 1, 0, 0))
    assert (movie / "0.0.0").stat().st_size < 200
    with pytest.raises(CorruptDataError, match=says):
        zarr.open(str(movie), mode="r")[0]


def test_a_chunk_of_zarr_v3_opens_to_no_more_than_the_array_holds(tmp_path):
    serializer = PhotonZarr3(dtype="uint8", exact=True)
    options = {"shape": (1, 16, 16), "chunks": (1, 16, 16), "dtype": "uint8", "compressors": None}
    array = zarr.create_array(tmp_path / "m.zarr", serializer=serializer, **options)
    array[:] = np.ones((1, 16, 16), "uint8")
    (tmp_path / "m.zarr/c/0/0/0").write_bytes(black(8000, 2**8))
    with pytest.raises(CorruptDataError, match="would take 2,097,152,000 bytes; the limit is 256"):
        array[0]


def test_a_chunk_opens_to_no_more_than_the_memory_it_is_to_fill():
    out = np.empty((1, 16, 16), "uint8")
    with pytest.raises(CorruptDataError, match="would take 2,097,152,000 bytes; the limit is 256"):
        Photon(dtype="uint8", exact=True).decode(black(8000, 2**8), out=out)


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_of_a_wide_span_only_the_codes_that_occur_are_computed(tmp_path, layout, monkeypatch):
    """Two values thousands of codes apart, with dither: 16 tables of all of them would be made."""
    movie = np.zeros((4, 8, 8), "int32")
    movie[0, 0, 0] = 2_000_000
    options = {"noise": pg.NoiseModel(gain=0.005), "step": 9.0, "dither": 5, "trust_noise": True}
    pg.encode(movie, tmp_path / "m.zarr", layout=layout, check=False, **options)
    made, right = [], CodeTable._least
    monkeypatch.setattr(CodeTable, "_least", lambda *args: (made.extend(args[1]), right(*args))[1])
    _table.cache_clear()
    counts = pg.open(tmp_path / "m.zarr").counts[...]
    assert 0 < len(made) < 200
    assert abs(int(counts[0, 0, 0]) - 2_000_000) < 1000 and abs(counts[1:]).max() < 10


def test_of_one_value_far_from_all_others_only_its_own_codes_are_computed(monkeypatch):
    """The noise of the movie is compared with a stated model; 1.7 million codes lie between."""
    movie = np.random.default_rng(0).poisson(100, (12, 32, 32)).astype("float32")
    movie[3, 3, 3] = -1e6
    made, right = [], CodeTable._least
    monkeypatch.setattr(CodeTable, "_least", lambda *args: (made.extend(args[1]), right(*args))[1])
    result = _decoded(movie, pg.NoiseModel(variance=1), 0.5)
    assert 0 < len(made) < 1000
    noise = pg.NoiseModel(variance=1)
    assert np.abs(pg.anscombe(result, noise) - pg.anscombe(movie, noise)).max() < 0.26


def test_a_trillion_frames_in_signed_metadata(stored):
    array = json.loads((stored / ".zarray").read_text())
    array["shape"][0] = 10**12
    (stored / ".zarray").write_text(json.dumps(array))
    sign_again(stored)
    verification = pg.verify(stored)
    assert verification.lost == ((20, 10**12 - 1),) and "mismatched" in str(verification)
    with pytest.raises(CorruptDataError, match="lacks more than 1,000,000 chunks"):
        pg.repair(stored)
    movie = pg.open(stored)
    assert movie.timestamps is None
    np.testing.assert_array_equal(movie.counts[3], pg.open(stored).counts[3])


@pytest.mark.parametrize("per_shard", [4, 1 << 24])
def test_a_trillion_frames_in_the_shards_of_signed_metadata(tmp_path, per_shard):
    """What is listed is bounded by the manifest and by the files, not by what the metadata state."""
    movie = tmp_path / "m.ome.zarr"
    pg.encode(COUNTS, movie, layout="compact", chunk_frames=5, noise=pg.NoiseModel())
    right = pg.open(movie).counts[3]
    array = json.loads((movie / "0/zarr.json").read_text())
    array["shape"][0] = 10**12
    array["chunk_grid"]["configuration"]["chunk_shape"][0] = 5 * per_shard
    (movie / "0/zarr.json").write_text(json.dumps(array))
    index = read((movie / "0/.manifest.json").read_bytes(), "")
    old, attributes = folder_files((movie / "0/zarr.json").read_bytes(), "")
    container = {name: entry((movie / name).read_bytes()) for name in index.container}
    chunks = {name: listed for name, listed in index.files.items() if name[0].isdigit()}
    group = (movie / "zarr.json").read_bytes()
    signed = pack(chunks, {".zattrs": attributes, ".zarray": old}, container=container, group=group)
    (movie / "0/.manifest.json").write_bytes(signed)
    verification = pg.verify(movie)
    assert verification.lost[-1][1] == 10**12 - 1 and "mismatched" in str(verification)
    with pytest.raises(CorruptDataError, match="lacks more than 1,000,000 chunks"):
        pg.repair(movie)
    opened = pg.open(movie)
    np.testing.assert_array_equal(opened.counts[3], right)
    with pytest.raises(CorruptDataError, match=r"4\.0\.0 is missing"):
        _ = opened.counts[20]


def test_a_writer_that_states_a_trillion_chunks_of_a_shard(tmp_path):
    movie = tmp_path / "m.ome.zarr"
    (movie / "0/c/0/0").mkdir(parents=True)
    (movie / "0/c/0/0/0").write_bytes(bytes(100))
    marker = {"host": "x", "pid": 1, "token": "0" * 32, "shards": [[10**12, 16, 16], [1, 16, 16], 1 << 40]}
    (movie / "0/.photon-writing").write_text(json.dumps(marker))
    assert "unfinished" in {problem.kind for problem in pg.verify(movie).problems}


def test_times_of_a_trillion_frames(tmp_path):
    movie = tmp_path / "m.zarr"
    with pg.LiveWriter(
        movie, frame_shape=(8, 8), dtype="uint16", chunk_frames=5, noise=pg.NoiseModel()
    ) as live:
        live.append(COUNTS[:10, :8, :8], timestamp=list(range(10)))
    assert pg.open(movie).timestamps.tolist() == list(range(10))
    array = json.loads((movie / ".zarray").read_text())
    array["shape"][0] = 10**14
    (movie / ".zarray").write_text(json.dumps(array))
    sign_again(movie)
    with pytest.raises(CorruptDataError, match="this machine has"):
        _ = pg.open(movie).timestamps


def test_a_header_of_gigabytes_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("movie.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1) + bytes(1 << 20))
    with pytest.raises(CorruptDataError, match=r"2,147,483,647 bytes; at most 10,000 are"):
        pg.open_source(tmp_path / "a.npz")


def test_a_frame_of_gigabytes_in_an_archive(tmp_path):
    header = io.BytesIO()
    shape = (1, 2**16, 2**15)
    np.lib.format.write_array_header_1_0(header, {"descr": "<u2", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("movie.npy", header.getvalue() + bytes(5_000_000))
        archive.infolist()[0].file_size = len(header.getvalue()) + 2**32
    with pytest.raises(InvalidInputError, match="4,294,967,296 bytes; .* at most 2,147,483,631"):
        pg.open_source(tmp_path / "a.npz")


def test_a_pipe_in_the_place_of_a_file(stored, tmp_path):
    (stored / "1.0.0").unlink()
    os.mkfifo(stored / "1.0.0")
    verification = pg.verify(stored)
    assert verification.lost == ((10, 19),) and "not a regular file" in str(verification)
    with pytest.raises(CorruptDataError, match="not a regular file"):
        _ = pg.open(stored).counts[15]
    for suffix in (".npy", ".npz", ".tif", ".h5"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(InvalidInputError, match="photon-gpu record"):
            pg.open_source(tmp_path / f"pipe{suffix}")


def test_a_file_too_large_for_a_movie_is_not_read(stored):
    with (stored / "1.0.0").open("r+b") as file:
        file.truncate(1 << 40)  # a hole
    assert pg.verify(stored).lost == ((10, 19),)


def test_ome_metadata_name_no_file_outside_of_their_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name, path in (("a", folder / "a.ome.tif"), ("secret", tmp_path / "secret.ome.tif")):
        tifffile.imwrite(path, COUNTS[:2], ome=True, metadata={"axes": "TYX", "Name": name})
    with tifffile.TiffFile(folder / "a.ome.tif") as tif:
        text = tif.ome_metadata
    for name in ("../secret.ome.tif", str(tmp_path / "secret.ome.tif")):
        uuid = f'<UUID FileName="{name}">urn:uuid:00000000-0000-0000-0000-000000000000</UUID></TiffData>'
        data = "".join(f'<TiffData IFD="{t}" FirstT="{t}" PlaneCount="1">{uuid}' for t in range(2))
        head, _, rest = text.partition("<TiffData")
        changed = head + data + rest.partition("/>")[2]
        tifffile.imwrite(folder / "b.ome.tif", COUNTS[:2], description=changed, metadata=None)
        with pytest.raises(CorruptDataError, match="not in this folder"):
            pg.open_source(folder / "b.ome.tif")


def test_a_mapped_file_that_is_cut_off_is_an_error(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, COUNTS)
    mapped = pg.open_source(np.load(path, mmap_mode="r")[2:])
    with pg.open_source(path) as source, mapped:
        for one in (source, mapped):
            one.read(10, 18)
        os.truncate(path, 6000)
        for one in (source, mapped):
            with pytest.raises(CorruptDataError, match="truncated|ended"):
                one.read(10, 18)


CUT_WHILE_READ = """
import os, sys
import numpy as np
import photon_gpu as pg
from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.raw.flat import RawSource

folder = sys.argv[1]
counts = np.random.default_rng(0).poisson(9, (60, 32, 64)).astype("uint16")
made = {
    "c": lambda path: (np.save(path, counts), path)[1],
    "f": lambda path: (np.save(path, np.asfortranarray(counts)), path)[1],
    "map": lambda path: (np.save(path, counts), np.load(path, mmap_mode="r"))[1],
    "transposed": lambda path: (np.save(path, counts), np.load(path, mmap_mode="r").swapaxes(0, 1))[1],
    "raw": lambda path: (counts.tofile(path), RawSource(path, (32, 64), "uint16"))[1],
}
for name, make in made.items():
    path = f"{folder}/{name}.npy"
    with pg.open_source(make(path)) as source:
        frames = source.read(0, source.shape[0])
        os.truncate(path, 9000)
        assert int(frames.sum()) == int(counts.sum())
    settings = {"noise": pg.NoiseModel(), "chunk_frames": 4, "workers": 1, "overwrite": True, "check": False}
    for layout in ("compact", "lossless"):
        try:
            pg.encode(
                make(path), f"{folder}/m.zarr", layout=layout, **settings,
                progress=lambda done, total: os.truncate(path, 9000),
            )
        except CorruptDataError:
            print("refused", name, layout)
"""


def test_a_file_that_is_cut_off_while_it_is_read_does_not_end_the_process(tmp_path):
    """Its memory map would (SIGBUS); nothing that was read before the cut changes."""
    command = [sys.executable, "-c", CUT_WHILE_READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert len(done.stdout.splitlines()) == 10
