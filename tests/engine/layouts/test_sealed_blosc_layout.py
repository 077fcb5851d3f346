"""The seal of a chunk: every reader skips it, and a chunk in the wrong place is refused."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import blosc2
import imagecodecs
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc as numcodecs_blosc

import photon_gpu as pg
from decoder import photon_decode
from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec.blosc.frame import MEMCPYED
from photon_gpu.engine.codec.blosc.seal import SEAL
from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.errors import CorruptDataError, PhotonWarning
from photon_gpu.store import manifest
from tests.support.noise.one_camera_movies import CAMERA, camera_movie
from tests.support.stores.golden_names import GOLDEN

RAW = {  # values that Blosc compresses, and values that it stores as they are
    "photons": camera_movie(25, 17, 23),
    "noise": np.random.default_rng(0).integers(0, 65536, (25, 17, 23)).astype("uint16"),
}
SEAL_OF_3 = blosc.Seal((3, 2), 4, 0x12345678)


def encoded(folder: Path, layout: str, values: np.ndarray = RAW["photons"]) -> Path:
    pg.encode(values, folder, noise=CAMERA, layout=layout, chunk_frames=10, check=False, trust_noise=True)
    return folder


def without_manifest(folder: Path) -> Path:
    (folder / ".manifest.json").unlink()
    return folder


def refused(folder: Path, message: str) -> None:
    """Every entrance refuses the chunks by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotonWarning)
        movie = pg.open(folder)
        for read in (lambda: movie.counts[...], lambda: movie[3], lambda: movie.counts[2, :3]):
            with pytest.raises(CorruptDataError, match=f"frames 0 to 9 cannot be read: .*{message}"):
                read()
        damaged = {problem.name for problem in pg.verify(folder).problems}
        assert "0.0.0" in damaged
        assert not pg.repair(folder).ok and not (folder / ".manifest.json").exists()
    with pytest.raises(photon_decode.DecodeError, match=r"0\.0\.0"):
        photon_decode.Movie(folder).chunk(0)


@pytest.mark.parametrize("content", RAW)
@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_swapped_chunks_are_refused_without_a_manifest(tmp_path, layout, content):
    folder = without_manifest(encoded(tmp_path / "m.zarr", layout, RAW[content]))
    first, second = (folder / name for name in ("0.0.0", "1.0.0"))
    swapped = second.read_bytes(), first.read_bytes()
    first.write_bytes(swapped[0])
    second.write_bytes(swapped[1])
    refused(folder, "chunk 0 was written as number 1")


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_a_chunk_of_another_movie_is_refused(tmp_path, layout):
    folder = without_manifest(encoded(tmp_path / "m.zarr", layout))
    other = encoded(tmp_path / "other.zarr", layout, RAW["photons"][::-1])
    shutil.copy(other / "0.0.0", folder / "0.0.0")
    refused(folder, "comes from elsewhere")


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_an_altered_chunk_and_one_without_its_seal_are_refused(tmp_path, layout):
    folder = without_manifest(encoded(tmp_path / "m.zarr", layout))
    whole = (folder / "0.0.0").read_bytes()
    length = (len(whole) - SEAL.size).to_bytes(4, "little")
    (folder / "0.0.0").write_bytes(whole[:12] + length + whole[16 : -SEAL.size])
    refused(folder, "has no seal")
    altered = bytearray(whole)
    altered[-SEAL.size - 3] ^= 1
    (folder / "0.0.0").write_bytes(altered)
    refused(folder, "was altered")


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_a_manifest_made_of_swapped_chunks_does_not_hide_them(tmp_path, layout):
    folder = encoded(tmp_path / "m.zarr", layout)
    files = manifest.read((folder / ".manifest.json").read_bytes(), "").files
    (folder / "0.0.0").write_bytes((folder / "1.0.0").read_bytes())
    texts = {name: (folder / name).read_bytes() for name in (".zattrs", ".zarray")}
    chunks = {name: files[name] for name in ("0.0.0", "1.0.0", "2.0.0")} | {"0.0.0": files["1.0.0"]}
    (folder / ".manifest.json").write_bytes(manifest.pack(chunks, texts))
    for read in (lambda movie: movie[...], lambda movie: movie.counts[3, :4]):
        with pytest.raises(CorruptDataError, match="chunk 0 was written as number 1"):
            read(pg.open(folder))


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_whole_chunks_prove_themselves_to_repair(tmp_path, layout):
    folder = encoded(tmp_path / "m.zarr", layout)
    manifest = (folder / ".manifest.json").read_bytes()
    assert pg.repair(without_manifest(folder)).ok
    assert (folder / ".manifest.json").read_bytes() == manifest


@pytest.mark.parametrize("content", RAW)
@pytest.mark.parametrize("layout", ["plain", "lossless"])
@pytest.mark.parametrize("suffix", [".zarr", ".ome.zarr"])
def test_other_readers_open_the_movie(tmp_path, layout, content, suffix):
    folder = encoded(tmp_path / f"m{suffix}", layout, RAW[content])
    movie = pg.open(folder)
    expected = movie.counts[...] if layout == "lossless" else movie[...]
    array, driver = (folder, "zarr") if suffix == ".zarr" else (folder / "0", "zarr3")
    np.testing.assert_array_equal(zarr.open(str(array), mode="r")[...], expected)
    opened = tensorstore.open({"driver": driver, "kvstore": f"file://{array}/"}).result()
    np.testing.assert_array_equal(opened.read().result(), expected)


def decoders(frame: bytes, nbytes: int) -> dict[str, bytes]:
    """What every decoder of Blosc makes of a frame."""
    blocks = blosc.Blocks(frame)
    blocks.open([slice(0, nbytes)])
    return {
        "numcodecs": bytes(numcodecs_blosc.decompress(frame)),
        "c-blosc2": bytes(blosc2.decompress(frame)),
        "imagecodecs": bytes(imagecodecs.blosc_decode(frame)),
        "photon_decode": photon_decode.blosc(frame),
        "whole": blosc.decompress(frame, nbytes).tobytes(),
        "in parts": blosc.decompress(frame, nbytes, Split(3, map)).tobytes(),
        "span": blosc.decompress_span(frame, 0, nbytes).tobytes(),
        "blocks": blocks.data.tobytes(),
    }


@settings(max_examples=60, deadline=None)
@given(
    count=st.one_of(st.integers(1, 200), st.integers(1000, 70000)),
    dtype=st.sampled_from(["u1", "<u2", "<f4", "<f8"]),
    cname=st.sampled_from(["zstd", "lz4", "blosclz", "zlib"]),
    clevel=st.integers(0, 3),
    shuffle=st.integers(0, 2),
    blocksize=st.sampled_from([0, 1024, 1 << 15, 1 << 20]),
    random=st.booleans(),
    threads=st.sampled_from([1, 3]),
)
def test_every_decoder_skips_the_seal(count, dtype, cname, clevel, shuffle, blocksize, random, threads):
    rng = np.random.default_rng(count)
    data = rng.integers(0, 256 if random else 4, count * np.dtype(dtype).itemsize, np.uint8).view(dtype)
    compressor = pg.Compressor(cname=cname, clevel=clevel, shuffle=shuffle, blocksize=blocksize)
    frame = blosc.compress(data, compressor, Split(threads, map), seal=SEAL_OF_3)
    assert bytes(blosc.compress(data, compressor, buffers=Buffers(), seal=SEAL_OF_3)) == frame
    assert blosc.read_seal(frame) == SEAL_OF_3 and blosc.seal_holds(frame) and not frame[2] & MEMCPYED
    for name, opened in decoders(frame, data.nbytes).items():
        assert opened == data.tobytes(), name


def test_content_that_does_not_compress_lies_in_blocks():
    data = np.random.default_rng(0).integers(0, 256, (3 << 20) + 5, np.uint8)
    frame = blosc.compress(data, pg.Compressor(), seal=SEAL_OF_3)
    assert (
        blosc.frame_sizes(frame) == (data.size, 1 << 20) and len(frame) == data.size + 16 + 4 * 8 + SEAL.size
    )
    for name, opened in decoders(frame, data.size).items():
        assert opened == data.tobytes(), name
    span = blosc.decompress_span(frame, 1_500_000, 2_500_000)
    assert span.tobytes() == data[1_500_000:2_500_000].tobytes()


def test_checksums_of_files_still_differ():
    """A CRC-32 after the bytes that it covers would give all files the same CRC-32 in the manifest."""
    frames = [blosc.compress(np.full(100, n), pg.Compressor(), seal=SEAL_OF_3) for n in range(9)]
    assert len({crc32(frame) for frame in frames}) == len(frames)


@pytest.mark.parametrize("name", ["plain-1.0-uint16", "lossless-3.0-int16"])
def test_a_movie_without_an_identity_needs_no_seal_and_refuses_one_of_another_movie(tmp_path, name):
    folder = tmp_path / "m.zarr"
    shutil.copytree(GOLDEN / name / "store", folder)
    without_manifest(folder)
    with pytest.warns(PhotonWarning, match="nothing shows whether its chunks are whole"):
        np.testing.assert_array_equal(pg.open(folder).counts[...], np.load(GOLDEN / name / "counts.npy"))
    newer = name.replace("1.0", "1.3").replace("3.0", "3.2")
    shutil.copy(GOLDEN / newer / "store" / "0.0.0", folder / "0.0.0")
    with (
        pytest.warns(PhotonWarning, match="lost"),
        pytest.raises(CorruptDataError, match="comes from elsewhere"),
    ):
        pg.open(folder).counts[...]
