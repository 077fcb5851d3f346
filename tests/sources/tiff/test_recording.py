"""What a TIFF file says besides pixels is kept verbatim and parsed, in each dialect."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.recording import Recording
from photon_gpu.sources.tiff.metadata_tags import Tags, from_documents, read_tags, to_documents
from photon_gpu.sources.tiff.page_chain import read_whole_pages
from photon_gpu.sources.tiff.rawfile import RawFile
from tests.support.sources.source_files import make_movie, write_tiff

MOVIE = make_movie((12, 8, 10), dtype="uint16")


def recording_of(path, **options) -> Recording:
    with pg.open_source(path, **options) as source:
        return source.recording


def test_a_file_that_says_nothing_has_no_documents(tmp_path):
    path = write_tiff(tmp_path, MOVIE)
    assert recording_of(path).documents == ()


def test_tags_of_every_page_come_back_from_their_documents(tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for number, frame in enumerate(MOVIE):
            text = b"caf\xe9" if number == 4 else f"frame {number // 2}".encode()
            more = [(65000, 7, 3, bytes([number, 1, 2]), True)] if number != 5 else []
            writer.write(frame, description=text, metadata=None, extratags=more, photometric="minisblack")
    with RawFile(path) as file:
        tags = read_tags([file], [read_whole_pages(file).directories])
    documents = {one.name: one for one in to_documents(tags).documents}
    assert documents["tiff/ImageDescription"].text == "frame 0"
    back = from_documents(documents)
    assert isinstance(back, Tags) and (back.values, back.types) == (tags.values, tags.types)
    assert [back.at(270, n) for n in (3, 4, 5)] == [b"frame 1", b"caf\xe9", b"frame 2"]
    assert list(back.by_page(65000))[4:7] == [b"\4\1\2", None, b"\6\1\2"]


def test_imagej_says_axes_units_and_rate(tmp_path):
    metadata = {"axes": "TCYX", "finterval": 0.5, "unit": "micron", "spacing": 3.0}
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, MOVIE.reshape(6, 2, 8, 10), imagej=True, metadata=metadata, resolution=(2, 4))
    result = recording_of(path)
    assert (result.axes, result.frame_rate) == ("tcyx", 2.0)
    assert result.pixel_size == {"y": (0.25, "µm"), "x": (0.5, "µm"), "z": (3.0, "µm")}
    assert result.document("tiff/ImageDescription").data.startswith(b"ImageJ=")


def test_ome_says_names_units_and_the_time_of_each_plane(tmp_path):
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "TimeIncrement": 500.0,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["green", "red"]},
        "Plane": {"DeltaT": [n * 100 for n in range(12)], "DeltaTUnit": ["ms"] * 12},
    }
    path = tmp_path / "movie.ome.tif"
    tifffile.imwrite(path, MOVIE.reshape(6, 2, 8, 10), metadata=metadata)
    result = recording_of(path)
    assert (result.axes, result.frame_rate, result.channel_names) == ("tcyx", 2.0, ("green", "red"))
    assert result.pixel_size == {"x": (250.0, "nm")}
    np.testing.assert_allclose(result.timestamps, np.arange(6) * 0.2)


def test_the_companion_of_an_ome_movie_is_kept(tmp_path):
    tifffile.imwrite(tmp_path / "whole.ome.tif", MOVIE, metadata={"axes": "TYX", "PhysicalSizeX": 2.0})
    text = tifffile.TiffFile(tmp_path / "whole.ome.tif").ome_metadata
    (tmp_path / "run.companion.ome").write_text(text)
    stub = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="run.companion.ome" UUID="urn:uuid:1"/></OME>'
    )
    path = tmp_path / "frames.tif"
    tifffile.imwrite(path, MOVIE, description=stub, metadata=None, photometric="minisblack")
    result = recording_of(path)
    assert result.document("ome/run.companion.ome").text == text
    assert result.pixel_size == {"x": (2.0, "µm")}


def test_micromanager_says_times_and_units_of_its_pages(tmp_path):
    path = tmp_path / "mm.tif"
    with tifffile.TiffWriter(path) as writer:
        for number, frame in enumerate(MOVIE):
            message = json.dumps({"ElapsedTime-ms": number * 50.0, "PixelSizeUm": 0.65})
            tag = (51123, 2, len(message) + 1, message, True)
            writer.write(frame, metadata=None, extratags=[tag], photometric="minisblack")
    result = recording_of(path, as_pages=True)
    np.testing.assert_allclose(result.timestamps, np.arange(12) * 0.05)
    assert result.pixel_size == {"y": (0.65, "µm"), "x": (0.65, "µm")}


@pytest.mark.parametrize(
    "description",
    [
        b"ImageJ=1.11a\nimages=12\nframes=12\nunit=\\",
        b'<?xml version="1.0"?><OME><Image><Pixels><Plane TheT="x"/></Pixels></Image></OME>',
    ],
)
def test_words_that_cannot_be_parsed_stop_nothing(description, tmp_path):
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, MOVIE, description=description, metadata=None, photometric="minisblack")
    result = recording_of(path, as_pages=True)
    assert result.document("tiff/ImageDescription").data == description
    assert any("could not be parsed" in line for line in result.not_kept)


def test_words_that_make_no_sense_are_kept_and_not_parsed(tmp_path):
    path = tmp_path / "odd.tif"
    message = b"ImageJ=1.11a\nimages=12\nframes=12\nfinterval=-3\nunit=um\nspacing=nan\n"
    tifffile.imwrite(path, MOVIE, description=message, metadata=None, photometric="minisblack")
    result = recording_of(path)
    assert result.frame_rate is None and result.document("tiff/ImageDescription").data == message
    assert any("frame_rate" in line for line in result.not_kept)
