"""Parts of compact chunks: the same values as of whole ones, from no more than they need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import block_shape
from photon_gpu.engine.codec.partial_decode import decode_part
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart
from photon_gpu.engine.codec.residual_bands import SEGMENT
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.errors import CorruptDataError, PhotonWarning
from tests.support.stores.encoded_chunks import CAMERA, DTYPES, MADE, NUMBA, NUMPY, encoded, movie
from tests.support.stores.golden_names import LISTED

GOLDEN = Path(__file__).parents[2] / "golden"
COMPRESSOR = blosc.Compressor(cname="zstd", clevel=1, shuffle=0, blocksize=4096)
SHAPES = [(6, 5, 7), (1, 5, 7), (5, 2, 4, 5), (9, 7), (4, 200, 300), (40, 70, 300)]


def parts(payload, shape, encoding, backend=NUMBA, what=STABILIZED, seed=0):
    """Some parts, each with what the whole chunk has there."""
    frame = blosc.compress(payload, COMPRESSOR)
    whole = coder.decode(payload, ChunkPart(shape), encoding, backend, what=what)
    frames, rows, columns = block_shape(shape)
    rng = np.random.default_rng(seed)
    spans = [
        (0, 1),
        (frames - 1, frames),
        (0, frames),
        *np.add(np.sort(rng.integers(0, frames, (3, 2))), (0, 1)),
    ]
    for start, stop in spans:
        low, high = np.add(np.sort(rng.integers(0, rows, 2)), (0, 1))
        for top, bottom in ((0, rows), (int(low), int(high))):
            blocks = blosc.Blocks(frame)
            part = ChunkPart(shape, int(start), int(stop), (top, bottom))
            result = decode_part(blocks, part, encoding, backend, what=what)
            assert result.shape == (stop - start, *shape[1:])
            as_rows = (result.reshape(-1, rows, columns), whole[start:stop].reshape(-1, rows, columns))
            yield blocks, *(block[:, top:bottom] for block in as_rows)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("photons", [3.0, 60.0])
@pytest.mark.parametrize("dither", [None, 9])
def test_every_predictor_gives_the_same_values_as_whole_chunks(name, photons, dither):
    for shape in SHAPES[: 5 if "full" in name else 6]:
        values = movie("uint16", shape, photons=photons)
        encoding = Encoding(layout="compact", noise=CAMERA, dither=dither, predictor=MADE[name])
        for what in (STABILIZED, np.dtype("uint16")):
            for _, result, expected in parts(encoded(values, encoding), shape, encoding, what=what):
                np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_width_of_codes(dtype):
    for step, spread in ((0.5, 20.0), (0.5, 40_000.0), (0.01, 40_000.0)):
        if np.dtype(dtype).itemsize == 1 and spread > 20:
            continue
        values = movie(dtype, (5, 80, 40), photons=spread)
        values[::2, ::3] = values.min()  # jumps, which escape
        encoding = Encoding(layout="compact", dtype=dtype, noise=CAMERA, step=step, predictor=MADE["mean"])
        for _, result, expected in parts(encoded(values, encoding), values.shape, encoding):
            np.testing.assert_array_equal(result, expected)


def test_the_reference_kernels_agree():
    values = movie("uint16", (6, 40, 30))
    for name in ("mean", "full, sorted", "spatial, sorted", "moving, coded"):
        if name in MADE:
            encoding = Encoding(layout="compact", noise=CAMERA, predictor=MADE[name])
            payload = encoded(values, encoding)
            for _, result, expected in parts(payload, values.shape, encoding, backend=NUMPY):
                np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", [name for name in LISTED if name.startswith(("compact", "plain"))])
def test_every_stored_version_gives_its_frames_and_regions_one_by_one(name):
    store, counts = GOLDEN / name / "store", np.load(GOLDEN / name / "counts.npy")
    middle = tuple(slice(n // 3, n // 3 + 2) for n in counts.shape[1:])
    for t in range(len(counts)):
        np.testing.assert_array_equal(pg.open(store).counts[t], counts[t])
        np.testing.assert_array_equal(pg.open(store).counts[(t, *middle)], counts[(t, *middle)])
    np.testing.assert_array_equal(
        pg.open(store).counts[(slice(None), *middle)], counts[(slice(None), *middle)]
    )


def test_no_more_is_opened_than_is_needed():
    """Of 40 frames in three bands of rows: the first frames of a band, and no other band."""
    shape = (40, 160, 256)
    values = movie("uint16", shape)
    encoding = Encoding(layout="compact", noise=CAMERA, predictor=MADE["mean"])
    frame = blosc.compress(encoded(values, encoding), COMPRESSOR)

    def share(start, stop, rows):
        blocks = blosc.Blocks(frame)
        decode_part(blocks, ChunkPart(shape, start, stop, rows), encoding, NUMBA, what=STABILIZED)
        return blocks._opened.mean()

    segment = SEGMENT / (
        40 * 160 * 256
    )  # what is opened at once of a band, and, of first frames, as much escapes
    assert share(0, 40, (0, 160)) == 1
    assert share(0, 40, (70, 80)) < 0.4 + 0.02
    assert share(0, 1, (0, 160)) < 2 * 3 * segment
    assert 0.5 < share(19, 20, (0, 160)) < 0.5 + 2 * 3 * segment
    assert share(0, 1, (70, 80)) < 2 * segment
    alone = Encoding(layout="compact", noise=CAMERA, predictor=MADE["none"])
    frame, encoding = blosc.compress(encoded(values, alone), COMPRESSOR), alone
    assert share(39, 40, (0, 160)) < 3 * 2 * segment + 0.02


def test_of_plain_chunks_only_blocks_with_the_rows_are_opened(monkeypatch):
    values = movie("uint16", (4, 600, 512))
    encoding = Encoding(
        layout="plain", noise=CAMERA, compressor=blosc.Compressor(shuffle=1, blocksize=1 << 18)
    )
    layout = layout_for(encoding, NUMBA)
    data = layout.encode(values, values.shape, Resources())
    whole, opened = layout.decode(data, ChunkPart(values.shape), np.dtype("uint16")), []
    span = "photon_gpu.engine.layouts.plain.decompress_span"
    monkeypatch.setattr(span, lambda *a, f=blosc.decompress_span: opened.append(a[2] - a[1]) or f(*a))
    for rows in ((0, 1), (250, 262), (599, 600), (0, 600)):
        opened.clear()
        result = layout.decode_part(data, ChunkPart(values.shape, 1, 4, rows), np.dtype("uint16"))
        np.testing.assert_array_equal(result[:, slice(*rows)], whole[1:, slice(*rows)])
        assert sum(opened) <= 3 * 8 * 512 * (rows[1] - rows[0]) + 2 * 3 * (1 << 20)


@pytest.mark.parametrize("layout", ["compact", "plain"])
@pytest.mark.parametrize("options", [{}, {"dither": 5}, {"exact": True}])
@pytest.mark.parametrize("shape", [(6, 5, 7), (9, 2, 40, 300)])
def test_rows_of_several_kinds_are_those_of_the_whole_chunk(layout, options, shape):
    values = movie("uint16", shape)
    if layout == "plain" and options.get("exact"):
        pytest.skip("plain stores no exact values")
    for name in ["none"] if layout == "plain" else MADE:
        encoding = Encoding(layout=layout, noise=CAMERA, predictor=MADE[name], **options)
        coded = layout_for(encoding, NUMBA)
        check_rows(coded, coded.encode(values, shape, Resources()), shape)


def test_rows_of_lossless_and_of_raw_chunks_are_those_of_the_whole_chunk():
    values = movie("uint16", (9, 2, 40, 300))
    for name in ("lossless", "compact"):
        layout = layout_for(Encoding(layout=name, noise=CAMERA), NUMBA)
        raw = name == "compact"
        data = (
            layout.encode_raw(values, values.shape)
            if raw
            else layout.encode(values, values.shape, Resources())
        )
        check_rows(layout, data, values.shape)


def check_rows(layout, data, shape):
    """Compare ``decode_rows`` with ``decode``, for all kinds of values at once."""
    outputs = (np.dtype("uint16"), np.dtype("float64"), STABILIZED)
    rows = block_shape(shape)[1]
    for start, stop, top, bottom in ((0, 1, 0, rows), (2, 5, rows // 2, rows // 2 + 1), (0, shape[0], 1, 5)):
        part = ChunkPart(shape, start, stop, (top, bottom))
        decoded = layout.decode_rows(data, part, outputs)
        for output, values in zip(outputs, decoded, strict=True):
            whole = layout.decode(data, part, output).reshape(stop - start, rows, shape[-1])
            assert values.dtype == whole.dtype
            np.testing.assert_array_equal(values, whole[:, top:bottom])


@pytest.mark.parametrize("name", ["mean", "full, sorted", "full, coded"])
def test_altered_payloads_are_errors_or_values_but_no_crash(name):
    if name not in MADE:
        pytest.skip("no such predictor")
    shape = (20, 40, 64)
    encoding = Encoding(layout="compact", noise=CAMERA, predictor=MADE[name])
    payload = encoded(movie("uint16", shape, photons=3.0), encoding)
    rng, errors = np.random.default_rng(4), 0
    for position in [*range(0, 700, 3), *rng.integers(0, payload.size, 200)]:
        altered = payload.copy()
        altered[position] ^= 1 << int(rng.integers(8))
        blocks = blosc.Blocks(blosc.compress(altered, COMPRESSOR))
        try:
            decode_part(blocks, ChunkPart(shape, 3, 7, (0, 40)), encoding, NUMBA, what=STABILIZED)
        except CorruptDataError:
            errors += 1
    assert errors > 60  # the header's bytes, all of them, and tables that do not add up


def test_a_chunk_is_kept_whole_once_it_is_asked_for_again(tmp_path, monkeypatch):
    values = movie("uint16", (40, 30, 32))
    pg.encode(values, tmp_path / "m.zarr", noise=CAMERA, layout="compact", chunk_frames=20)
    stored, calls = pg.open(tmp_path / "m.zarr").counts[...], []
    opened = pg.open(tmp_path / "m.zarr")
    for method in ("decode", "decode_part"):
        own = getattr(opened._layout, method)
        monkeypatch.setattr(
            opened._layout, method, lambda *a, k=method, f=own, **o: calls.append(k) or f(*a, **o)
        )
    for t in (5, 6, 7, 19):
        np.testing.assert_array_equal(opened.counts[t], stored[t])
    assert calls == ["decode_part", "decode"]
    np.testing.assert_array_equal(opened.counts[30:, 3:5, 2], stored[30:, 3:5, 2])
    assert calls == ["decode_part", "decode", "decode_part"]


def test_without_a_manifest_chunks_are_opened_whole_and_checked(tmp_path, monkeypatch):
    values = movie("uint16", (40, 30, 32))
    pg.encode(values, tmp_path / "m.zarr", noise=CAMERA, layout="compact", chunk_frames=20)
    (tmp_path / "m.zarr" / ".manifest.json").unlink()
    opened = pg.open(tmp_path / "m.zarr")
    monkeypatch.setattr(opened._layout, "decode_part", None)
    with pytest.warns(PhotonWarning, match="has lost its .manifest.json"):
        opened.counts[3]
    # A chunk whose codes are others than its checksum says, in a file that opens.
    layout, data = opened._layout, (tmp_path / "m.zarr" / "1.0.0").read_bytes()
    payload = layout._payload(data, opened.chunks, map)
    payload[-900] ^= 1
    (tmp_path / "m.zarr" / "1.0.0").write_bytes(blosc.compress(payload, opened.encoding.compressor))
    with pytest.raises(CorruptDataError, match="frames 20 to 39 cannot be read"):
        opened.counts[21]
