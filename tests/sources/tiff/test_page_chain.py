"""The strict walk along the pages of a TIFF file."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.tiff.page_chain import read_whole_pages
from photon_gpu.sources.tiff.rawfile import RawFile
from tests.support.sources.source_files import make_movie, write_scanimage, write_tiff


def walk(path):
    """Return the pages of a whole file; a file that is cut off is an error here, as damage is."""
    with RawFile(path) as file:
        chain = read_whole_pages(file)
    if chain.cut:
        raise CorruptDataError(f"{path}: after {len(chain.pages)} whole page(s): {chain.cut.what}")
    return chain.pages


@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}]
)
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 3}, {"tile": (16, 16)}, {"compression": "lzw"}])
def test_it_finds_what_tifffile_finds(tmp_path, options, layout):
    path = write_tiff(tmp_path, make_movie((6, 20, 24)), metadata=None, **options, **layout)
    pages = walk(path)
    with tifffile.TiffFile(path) as tif:
        assert len(pages) == len(tif.pages)
        for ours, theirs in zip(pages, tif.pages, strict=True):
            assert tuple(ours.offsets) == theirs.dataoffsets
            assert tuple(ours.counts) == theirs.databytecounts
    assert len({page.form for page in pages}) == 1


def test_default_values_and_repeated_values_do_not_make_another_form(tmp_path):
    grey = write_tiff(tmp_path, make_movie((2, 20, 24)), metadata=None)
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, np.zeros((2, 8, 8, 3), "uint16"), photometric="rgb")
    forms = [dict(page.form) for page in (*walk(grey), *walk(path))]
    assert forms[0] == forms[1] and forms[2] == forms[3] != forms[0]
    assert forms[2][258] == forms[0][258] == (16,)


def _links(path):
    """Places of the links between pages of a classic little-endian file."""
    data = path.read_bytes()
    offsets, link = [], 4
    while offset := struct.unpack_from("<I", data, link)[0]:
        offsets.append(link)
        link = offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0]
    return [*offsets, link]


@pytest.mark.parametrize(
    "target, message",
    [("itself", "circle"), ("first", "circle"), ("beyond", "begins at byte"), ("end", "begins at byte")],
)
def test_links_that_lead_nowhere(tmp_path, target, message):
    path = write_tiff(tmp_path, make_movie((5, 8, 8)), metadata=None)
    data = bytearray(path.read_bytes())
    links = _links(path)
    first = struct.unpack_from("<I", data, 4)[0]
    third = struct.unpack_from("<I", data, links[2])[0]
    value = {"itself": third, "first": first, "beyond": 2**32 - 1, "end": len(data) - 1}[target]
    struct.pack_into("<I", data, links[3], value)
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match=rf"after 3 whole page.*{message}"):
        walk(path)


def test_a_header_without_pages(tmp_path):
    path = write_tiff(tmp_path, make_movie((5, 8, 8)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, 0)
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="never finished"):
        walk(path)


def test_a_page_of_zeros_as_a_preallocated_file_has(tmp_path):
    path = write_scanimage(tmp_path / "si.tif", make_movie((5, 8, 8)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4] + bytes(len(data) // 4 + 100))
    with pytest.raises(CorruptDataError, match=r"claims 0 tags|of type 0"):
        walk(path)


def test_text_cut_off_behind_the_pixels(tmp_path):
    """tifffile drops such a tag, and with it what OME says of the axes."""
    path = write_tiff(tmp_path, make_movie((6, 8, 8)), ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].tags["ImageDescription"].valueoffset > max(page.offset for page in tif.pages)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptDataError, match="tag 270 of the page"):
        walk(path)


@pytest.mark.parametrize(
    "start", [b"", b"I", b"II*\0", b"MM\0+\0\x08\0\0\0\0\0\0", b"PK\x03\x04" * 10, bytes(64)]
)
def test_what_is_no_tiff(tmp_path, start):
    path = tmp_path / "x.tif"
    path.write_bytes(start)
    with pytest.raises(CorruptDataError, match=r"x\.tif"):
        walk(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, 10**6),
    value=st.binary(min_size=1, max_size=4),
    options=st.sampled_from(["", "big"]),
)
def test_any_damage_raises_our_error_or_none(tmp_path, position, value, options):
    path = tmp_path / f"{options}.tif"
    source = tmp_path / f"{options}-whole.tif"
    if not source.exists():
        write_tiff(tmp_path, make_movie((4, 3, 5)), metadata=None, bigtiff=options == "big").rename(source)
    data = bytearray(source.read_bytes())
    position %= len(data)
    data[position : position + len(value)] = value
    path.write_bytes(data)
    try:
        walk(path)
    except CorruptDataError as error:
        assert str(path) in str(error)
