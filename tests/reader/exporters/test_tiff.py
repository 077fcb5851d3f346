"""A TIFF that is encoded and decoded says the same as before, whoever wrote it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.reader.export import export
from photon_gpu.reader.exporters.tiff_pages import write_pages
from photon_gpu.recording import Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.tiff.metadata_tags import Tags
from tests.support.sources.source_files import make_movie, write_scanimage

MOVIE = make_movie((24, 8, 10), dtype="uint16")
FIVE = MOVIE.reshape(6, 2, 2, 8, 10)
OME = {
    "PhysicalSizeX": 0.5,
    "PhysicalSizeXUnit": "µm",
    "TimeIncrement": 33.0,
    "TimeIncrementUnit": "ms",
    "Channel": {"Name": ["green", "red"]},
    "Plane": {"DeltaT": [n / 10 for n in range(24)], "DeltaTUnit": ["s"] * 24},
}
ARTIST = (315, 2, 4, "Ada", True)
LABELS = {"Labels": [f"frame {n}" for n in range(24)], "Info": "a line", "Ranges": (0.0, 9.0, 0.0, 9.0)}


def imagej(**options):
    return {"imagej": True, "resolution": (2.0, 4.0), **options}


FILES = {
    "imagej": (FIVE, imagej(metadata={"axes": "TZCYX", "finterval": 0.1, "unit": "um", **LABELS})),
    "imagej, big-endian": (FIVE, imagej(metadata={"axes": "TZCYX", **LABELS}, byteorder=">")),
    "imagej, one directory": (FIVE, imagej(metadata={"axes": "TZCYX"}, truncate=True)),
    "ome": (FIVE, {"ome": True, "metadata": {"axes": "TZCYX", **OME}}),
    "ome, channels last": (np.moveaxis(FIVE, 2, 0), {"ome": True, "metadata": {"axes": "CTZYX"}}),
    "shaped, with tags": (FIVE[:, 0], {"metadata": {"axes": "TCYX", "mouse": 3}, "extratags": [ARTIST]}),
    "plain, with tags": (MOVIE, {"software": "rig 3", "datetime": "2024:05:01 12:00:00"}),
}


def there_and_back(path, folder, *, part=None, **options):
    pg.encode(path, folder / "movie.zarr", layout="lossless", overwrite=True, **options)
    out = folder / "back.tif"
    export(pg.open(folder / "movie.zarr"), out, overwrite=True, frames=part)
    return out


def words(tif):
    metadata = {
        name: getattr(tif, f"{name}_metadata") for name in ("imagej", "ome", "scanimage", "shaped", "stk")
    }
    tags = {tag.name: tag.value for tag in tif.pages.first.tags if tag.code not in (273, 278, 279, 284, 339)}
    series = tif.series[0]
    return {**metadata, "axes": series.axes, "shape": series.shape, **tags}


@pytest.mark.parametrize("flavour", FILES)
def test_tifffile_finds_the_same_axes_metadata_and_tags(flavour, tmp_path):
    values, options = FILES[flavour]
    source = tmp_path / "source.tif"
    tifffile.imwrite(source, values, photometric="minisblack", **options)
    back = there_and_back(source, tmp_path)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(back) as after:
        np.testing.assert_equal(words(after), words(before))
        np.testing.assert_array_equal(after.series[0].asarray(), before.series[0].asarray())


def scanimage(path, channels=1, **options):
    """A file at 30 frames/s. The pages of a frame, one per channel, have one time, as ScanImage writes."""
    lines = (
        "SI.hRoiManager.scanFrameRate = 30\nSI.hChannels.channelName = {'gcamp' 'ruby'}\n"
        "SI.hRoiManager.imagingFovUm = [-50 -40;50 -40;50 40;-50 40]\n"
    )
    return write_scanimage(
        path,
        MOVIE,
        header=lines,
        channels=channels,
        frame_text=lambda n: (
            f"frameNumbers = {n + 1}\nframeTimestamps_sec = {n // channels / 30:.6f}\nI2C = {{}}\n"
        ),
        **options,
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_scanimage_keeps_its_header_its_regions_and_every_frame_description(channels, tmp_path):
    source = scanimage(tmp_path / "source.tif", channels=channels)
    back = there_and_back(source, tmp_path)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(back) as after:
        assert after.is_scanimage
        np.testing.assert_equal(after.scanimage_metadata, before.scanimage_metadata)
        assert [page.description for page in after.pages] == [page.description for page in before.pages]
        assert after.pages[5].software == before.pages[5].software
    movie = pg.open(tmp_path / "movie.zarr")
    assert movie.axes == ("tyx" if channels == 1 else "tcyx") and movie.frame_rate == 30.0
    assert movie.channel_names == (("gcamp", "ruby") if channels == 2 else ("gcamp",))
    assert movie.pixel_size == {"y": (10.0, "µm"), "x": (10.0, "µm")}
    np.testing.assert_allclose(movie.timestamps, np.arange(len(movie)) / 30, atol=1e-6)


def test_a_part_of_a_scanimage_movie_has_the_descriptions_of_its_frames(tmp_path):
    source = scanimage(tmp_path / "source.tif", channels=2)
    back = there_and_back(source, tmp_path, part=(3, 5))
    with tifffile.TiffFile(back) as after:
        result = [page.description.splitlines()[0] for page in after.pages]
        assert result == [f"frameNumbers = {n}" for n in (7, 8, 9, 10)]
        np.testing.assert_array_equal(after.asarray().reshape(4, 8, 10), MOVIE[6:10])


@pytest.mark.parametrize("flavour", ["imagej", "ome"])
def test_a_part_of_a_movie_that_counts_its_pages_is_described_anew(flavour, tmp_path):
    values, options = FILES[flavour]
    source = tmp_path / "source.tif"
    tifffile.imwrite(source, values, photometric="minisblack", **options)
    back = there_and_back(source, tmp_path, part=(1, 4))
    with tifffile.TiffFile(back) as after:
        assert getattr(after, f"is_{flavour}") and after.series[0].axes == "TZCYX"
        np.testing.assert_array_equal(after.series[0].asarray(), FIVE[1:4])
    with pg.open_source(back) as again, pg.open_source(source) as first:
        for axis, (size, unit) in first.recording.pixel_size.items():
            assert again.recording.pixel_size[axis] == (pytest.approx(size), unit)
        assert again.recording.frame_rate == pytest.approx(first.recording.frame_rate)


def test_stabilized_values_have_the_words_of_the_source(tmp_path):
    source = scanimage(tmp_path / "source.tif", channels=2)
    noise = pg.NoiseModel(gain=20, offset=90)
    pg.encode(source, tmp_path / "movie.zarr", noise=noise, trust_noise=True, check=False)
    out = tmp_path / "back.tif"
    export(pg.open(tmp_path / "movie.zarr"), out, stabilized=True)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(out) as after:
        np.testing.assert_equal(after.scanimage_metadata, before.scanimage_metadata)
        assert [page.description for page in after.pages] == [page.description for page in before.pages]
        assert after.series[0].dtype == np.float64
    with pg.open_source(out) as again:
        assert again.recording.axes == "tcyx"


def test_labels_and_words_of_imagej_are_those_of_the_frames_that_were_selected(tmp_path):
    values, options = FILES["imagej"]
    source = tmp_path / "source.tif"
    tifffile.imwrite(source, values, photometric="minisblack", **options)
    back = there_and_back(source, tmp_path, frames="1:3", channel=1)
    with tifffile.TiffFile(back) as after:
        result = after.imagej_metadata
        assert (after.series[0].axes, after.series[0].shape) == ("TZYX", (2, 2, 8, 10))
        assert result["Labels"] == [f"frame {n}" for n in (5, 7, 9, 11)] and result["Info"] == "a line"
        assert (result["finterval"], result["unit"], result["frames"]) == (0.1, "um", 2)
        np.testing.assert_array_equal(after.asarray(), FIVE[1:3, :, 1])


@pytest.mark.parametrize("in_file", ["TZCYX", "CTZYX"])
def test_the_ome_xml_of_a_part_keeps_the_rest_and_describes_the_part(in_file, tmp_path):
    source = tmp_path / "source.ome.tif"
    values = FIVE.transpose(["TZCYX".index(axis) for axis in in_file])
    words_of_ome = {name: value for name, value in OME.items() if name != "Plane"}
    tifffile.imwrite(
        source, values, photometric="minisblack", ome=True, metadata={**words_of_ome, "axes": in_file}
    )
    text = tifffile.tiffcomment(source)
    text = text.replace(
        "<Image ", '<Instrument ID="Instrument:7"><Microscope Model="X"/></Instrument><Image '
    )
    plane = '<Plane TheC="{}" TheZ="{}" TheT="{}" DeltaT="{}" ExposureTime="0.5"/>'
    every = "".join(
        plane.format(c, z, t, t + z / 8) for t in range(len(FIVE)) for z in range(2) for c in range(2)
    )
    tifffile.tiffcomment(source, text.replace("</Pixels>", f"{every}</Pixels>").encode())
    pg.encode(source, tmp_path / "movie.zarr", layout="lossless", frames="1:4", channel=1)
    report = export(pg.open(tmp_path / "movie.zarr"), tmp_path / "back.ome.tif")
    with tifffile.TiffFile(tmp_path / "back.ome.tif") as after:
        assert (after.series[0].axes, after.series[0].shape) == ("TZYX", (3, 2, 8, 10))
        np.testing.assert_array_equal(after.series[0].asarray(), FIVE[1:4, :, 1])
        ome = tifffile.xml2dict(after.ome_metadata)["OME"]
    pixels = ome["Image"]["Pixels"]
    assert (pixels["SizeC"], pixels["SizeZ"], pixels["SizeT"]) == (1, 2, 3)
    assert pixels["Channel"]["Name"] == OME["Channel"]["Name"][1]
    assert [(p["TheC"], p["TheZ"], p["TheT"], p["DeltaT"]) for p in pixels["Plane"]] == [
        (0, z, t - 1, t + z / 8) for t in range(1, 4) for z in range(2)
    ]
    assert ome["Instrument"]["Microscope"]["Model"] == "X" and not report.notes


def test_a_selected_scanimage_channel_has_the_descriptions_of_its_pages(tmp_path):
    source = scanimage(tmp_path / "source.tif", channels=2)
    pg.encode(source, tmp_path / "movie.zarr", layout="lossless", channel="ruby", frames="3:6")
    report = export(pg.open(tmp_path / "movie.zarr"), tmp_path / "back.tif")
    with tifffile.TiffFile(tmp_path / "back.tif") as after:
        result = [page.description.splitlines()[0] for page in after.pages]
        np.testing.assert_array_equal(after.asarray(), MOVIE[7:12:2])
    assert result == [f"frameNumbers = {n}" for n in (8, 10, 12)] and not report.notes
    pg.encode(tmp_path / "back.tif", tmp_path / "again.zarr", layout="lossless")
    again = pg.open(tmp_path / "again.zarr")
    np.testing.assert_array_equal(again.counts, MOVIE[7:12:2])
    assert (again.axes, again.channel_names, again.frame_rate) == ("tyx", ("ruby",), 30.0)
    np.testing.assert_allclose(again.timestamps, [0.1, 4 / 30, 5 / 30], atol=1e-6)


def test_a_movie_in_several_files_has_the_header_of_the_first_and_the_words_of_every_page(tmp_path):
    for number in range(3):
        write_scanimage(
            tmp_path / f"run_{number:05}.tif",
            MOVIE[8 * number : 8 * number + 8],
            header="SI.hRoiManager.scanFrameRate = 30\n",
            frame_text=lambda n, first=8 * number: f"frameNumbers = {first + n + 1}\n",
        )
    pg.encode(tmp_path / "run_*.tif", tmp_path / "movie.zarr", layout="lossless")
    export(pg.open(tmp_path / "movie.zarr"), tmp_path / "back.tif")
    with tifffile.TiffFile(tmp_path / "back.tif") as after:
        assert after.scanimage_metadata["FrameData"]["SI.hRoiManager.scanFrameRate"] == 30
        result = [page.description.split()[-1] for page in after.pages]
        np.testing.assert_array_equal(after.asarray(), MOVIE)
    assert result == [str(n) for n in range(1, 25)]


def test_single_page_files_keep_their_own_words(tmp_path):
    for number, frame in enumerate(MOVIE[:4]):
        tifffile.imwrite(tmp_path / f"f{number}.tif", frame, description=f"page {number}", metadata=None)
    pg.encode(tmp_path / "f*.tif", tmp_path / "movie.zarr", layout="lossless")
    export(pg.open(tmp_path / "movie.zarr"), tmp_path / "back.tif")
    with tifffile.TiffFile(tmp_path / "back.tif") as after:
        assert [page.description for page in after.pages] == [f"page {n}" for n in range(4)]


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_come_back_as_colours(planar, tmp_path):
    shape = (4, 8, 10, 3) if planar == "contig" else (4, 3, 8, 10)
    values = make_movie(shape, dtype="uint8")
    source = tmp_path / "source.tif"
    tifffile.imwrite(source, values, photometric="rgb", planarconfig=planar, software="rig 3")
    back = there_and_back(source, tmp_path)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(back) as after:
        np.testing.assert_equal(words(after), words(before))
        np.testing.assert_array_equal(after.asarray(), before.asarray())


def test_what_a_tiff_cannot_say_is_named(tmp_path):
    recording_in = {"axes": "tyx"}
    np.savez(tmp_path / "raw.npz", movie=MOVIE, mask=np.ones(3))
    pg.encode(
        tmp_path / "raw.npz", tmp_path / "movie.zarr", layout="lossless", dataset="movie", **recording_in
    )
    (note,) = export(pg.open(tmp_path / "movie.zarr"), tmp_path / "back.tif").notes
    assert note.startswith("not written back: ") and "mask" in note


def test_blocks_of_micromanager_are_kept_and_what_a_tiff_does_not_get_back_is_named(tmp_path):
    summary = b'{"MicroManagerVersion": "2.0", "Channels": 1}'
    at = 40 + len(summary)
    index = np.arange(5 * len(MOVIE), dtype="<u4").tobytes()  # five numbers for each page
    blocks = {
        "IndexMap.bin": (54773648, 3453623, len(MOVIE), index),
        "DisplaySettings.json": (483765892, 347834724, 14, b'[{"Color": 1}]'),
        "Comments.json": (99384722, 84720485, 22, b'{"Summary": "mouse 7"}'),
    }
    pointers, data = [], b""
    for pointer, begin, count, content in blocks.values():
        pointers.append(struct.pack("<II", pointer, at + len(data)))
        data += struct.pack("<II", begin, count) + content
    header = b"".join((*pointers, struct.pack("<II", 2355492, len(summary)), summary, data))
    with (tmp_path / "source.tif").open("wb") as file:
        write_pages(file, MOVIE, len(MOVIE), Tags(pages=len(MOVIE)), header=header, big=False)
    with pytest.raises(pg.PhotonError, match="data from byte 8 on"):  # their places are not kept
        pg.encode(
            tmp_path / "source.tif",
            tmp_path / "movie.zarr",
            layout="lossless",
            as_pages=True,
            check="full",
            delete_source=True,
        )
    pg.encode(tmp_path / "source.tif", tmp_path / "movie.zarr", layout="lossless", as_pages=True)
    movie = pg.open(tmp_path / "movie.zarr")
    assert movie.source_metadata["micromanager/Summary.json"].data == summary
    for name, (*_, content) in blocks.items():
        assert movie.source_metadata[f"micromanager/{name}"].data == content
    (note,) = export(movie, tmp_path / "back.tif").notes
    assert note.startswith("not written back: micromanager/Summary.json, micromanager/IndexMap.bin")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "back.tif"), MOVIE)


TIMES = np.arange(24) ** 2 / 8
KNOWN = {
    "rate": {"frame_rate": 30.0},
    "sizes": {"pixel_size": {"y": (0.5, "µm"), "x": (0.25, "µm")}},
    "times": {"timestamps": TIMES},
}


@pytest.mark.parametrize("field", KNOWN)
def test_a_tiff_of_another_source_states_what_is_known_also_without_axes(tmp_path, field):
    source = ArraySource(MOVIE)
    source.recording = Recording(**KNOWN[field])
    pg.encode(source, tmp_path / "m.zarr", layout="lossless", check=False)
    report = export(pg.open(tmp_path / "m.zarr"), tmp_path / "o.tif", frames=(3, 9))
    assert report.notes == ()
    with pg.open_source(tmp_path / "o.tif") as again:
        known, read = source.recording, again.recording
    assert (read.frame_rate or 0) == pytest.approx(known.frame_rate or 0)
    assert read.pixel_size == known.pixel_size
    if field == "times":
        np.testing.assert_allclose(read.timestamps, TIMES[3:9])


def test_fields_that_a_tiff_does_not_state_are_named(tmp_path):
    """The tags of the source cannot hold times that the user gave."""
    tifffile.imwrite(tmp_path / "raw.tif", MOVIE, software="rig 3")
    pg.encode(tmp_path / "raw.tif", tmp_path / "m.zarr", layout="lossless", check=False, timestamps=TIMES)
    (note,) = export(pg.open(tmp_path / "m.zarr"), tmp_path / "o.tif").notes
    assert note == "not written back: times; .h5 and .zarr hold it"
