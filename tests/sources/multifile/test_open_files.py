"""Movies in many files: a list, a glob, a folder."""

from __future__ import annotations

import os
import uuid

import h5py
import numpy as np
import pytest
import tifffile

from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreNotFoundError
from photon_gpu.sources.open import open_source
from photon_gpu.sources.tiff.rawfile import _opened
from tests.support.sources.source_files import make_movie, write_scanimage

BRUKER = "run_Cycle00001_Ch{c}_{t:06d}.ome.tif"


def read(source, **options):
    with open_source(source, **options) as movie:
        return movie.read(0, movie.shape[0])


def pages(folder, movie, name="m_{}.tif"):
    for number, frame in enumerate(movie):
        tifffile.imwrite(folder / name.format(number), frame, photometric="minisblack", metadata=None)


@pytest.fixture
def movie():
    return make_movie((12, 8, 10), "uint16")


def test_a_folder_a_glob_and_a_list_are_one_movie_in_natural_order(tmp_path, movie):
    pages(tmp_path, movie)
    (tmp_path / "notes.txt").write_text("not a movie")
    for source in (tmp_path, str(tmp_path / "m_*.tif"), sorted(tmp_path.glob("*.tif"))):
        np.testing.assert_array_equal(read(source), movie)
    with open_source(tmp_path) as opened:
        assert opened.recording.axes == "tyx"
        assert opened.origins(9, 10) == [(str(tmp_path / "m_9.tif"), 0)]


def test_stacks_of_different_lengths_follow_one_another(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a_1.tif", movie[:5], photometric="minisblack", byteorder=">")
    tifffile.imwrite(tmp_path / "a_2.tif", movie[5:], photometric="minisblack", truncate=True)
    with pytest.raises(InvalidInputError, match="a_2.tif: its frames differ.*byte order"):
        read(tmp_path)
    tifffile.imwrite(tmp_path / "a_1.tif", movie[:5], photometric="minisblack")
    with open_source(tmp_path) as opened:
        np.testing.assert_array_equal(opened.read(3, 8), movie[3:8])
        assert opened.origins(5, 6) == [(str(tmp_path / "a_2.tif"), 0)]


@pytest.mark.parametrize("other", [make_movie((8, 9), "uint16"), make_movie((8, 10), "uint8")])
def test_another_shape_or_dtype_is_refused_by_name(tmp_path, movie, other):
    pages(tmp_path, [*movie[:3], other])
    with pytest.raises(InvalidInputError, match=r"m_3\.tif: its frames differ from those of m_0\.tif"):
        read(tmp_path)


def test_a_file_that_promises_more_frames_than_it_has_pages_is_no_single_frame(tmp_path, movie):
    pages(tmp_path, movie[:2])
    tifffile.imwrite(tmp_path / "m_2.tif", movie[2:6], photometric="minisblack", truncate=True)
    np.testing.assert_array_equal(read(tmp_path), movie[:6])


def test_a_missing_file_is_refused_or_read_as_lost(tmp_path, movie):
    pages(tmp_path, movie)
    (tmp_path / "m_4.tif").unlink()
    with pytest.raises(InvalidInputError, match=r"1 of 12 files are missing: m_4\.tif"):
        read(tmp_path)
    with pytest.warns(match="lacks frames 4"), open_source(tmp_path, missing="zero") as opened:
        assert opened.lost == ((4, 5),)
        result = opened.read(0, 12)
    movie[4] = 0
    np.testing.assert_array_equal(result, movie)
    np.testing.assert_array_equal(read(tmp_path, missing="skip"), np.delete(movie, 4, 0))


def test_channels_of_file_names_are_an_axis(tmp_path, movie):
    for channel in (1, 2):
        pages(tmp_path, movie[channel - 1 :: 2], f"r_Ch{channel}_{{}}.tif")
    with open_source(tmp_path) as opened:
        assert opened.shape == (6, 2, 8, 10) and opened.recording.channel_names == ("Ch1", "Ch2")
        np.testing.assert_array_equal(opened.read(0, 6), movie.reshape(6, 2, 8, 10))
    np.testing.assert_array_equal(read(tmp_path, channel="Ch2"), movie[1::2])


def test_scanimage_volumes_go_on_in_the_next_file(tmp_path, movie):
    """A volume of 3 planes of 2 channels; the first file ends within a volume."""
    header = "SI.hStackManager.enable = true\nSI.hFastZ.enable = true\nSI.hStackManager.numSlices = 3\n"
    pages = make_movie((24, 8, 10))
    for number, (first, end) in enumerate(((0, 8), (8, 24)), 1):
        path = tmp_path / f"scan_0000{number}.tif"
        write_scanimage(path, pages[first:end], channels=2, header=header)
        data = path.read_bytes().replace(b"frameNumbers = 1\0", b"frameNumbers = %d\0" % (first // 2 + 1))
        path.write_bytes(data)
    with open_source(tmp_path) as opened:
        assert opened.recording.axes == "tzcyx"
        np.testing.assert_array_equal(opened.read(0, 4), pages.reshape(4, 3, 2, 8, 10))


def test_scanimage_acquisitions_are_not_joined_within_a_frame(tmp_path):
    for number in (1, 2):  # both begin at frame 1; the first was aborted within a frame
        write_scanimage(tmp_path / f"scan_0000{number}.tif", make_movie((5, 8, 10)), channels=2)
    with pytest.raises(CorruptDataError, match="divide"):
        read(tmp_path)


def ome(folder, movie, how):
    """Bruker: one page a file; the XML in the first file, in each, or in a companion file."""
    frames, channels = movie.shape[:2]
    ids = {(c, t): uuid.UUID(int=1 + c * 1000 + t) for c in range(channels) for t in range(frames)}
    data = "".join(
        f'<TiffData FirstC="{c}" FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="'
        f'{BRUKER.format(c=c + 1, t=t + 1)}">urn:uuid:{own}</UUID></TiffData>'
        for (c, t), own in ids.items()
    )
    root = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:'
    )
    size = f'SizeX="{movie.shape[3]}" SizeY="{movie.shape[2]}" SizeC="{channels}" SizeZ="1" SizeT="{frames}"'
    body = (
        f'"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" {size}>'
        f"{data}</Pixels></Image></OME>"
    )
    first = BRUKER.format(c=1, t=1) if how == "first" else "run.companion.ome"
    for (c, t), own in ids.items():
        whole = how == "all" or (how == "first" and (c, t) == (0, 0))
        text = f"{root}{own}" + (body if whole else f'"><BinaryOnly MetadataFile="{first}" UUID="x"/></OME>')
        path = folder / BRUKER.format(c=c + 1, t=t + 1)
        tifffile.imwrite(path, movie[t, c], photometric="minisblack", description=text, metadata=None)
    if how == "companion":
        (folder / first).write_text(f"{root}{uuid.UUID(int=99)}{body}")


@pytest.mark.parametrize("how", ["first", "all", "companion"])
def test_any_file_of_an_ome_movie_opens_all_of_it(tmp_path, movie, how):
    movie = movie.reshape(6, 2, 8, 10)
    ome(tmp_path, movie, how)
    one = tmp_path / BRUKER.format(c=2, t=3)
    sources = [one, tmp_path, list(tmp_path.glob("*.tif")), *tmp_path.glob("*.companion.ome")]
    for source in sources:
        np.testing.assert_array_equal(read(source), movie)
    np.testing.assert_array_equal(read(str(tmp_path / "*_Ch2_*.tif")), movie[:, 1])
    np.testing.assert_array_equal(read(str(tmp_path / "*_00000[23].ome.tif")), movie[1:3])
    with pytest.raises(InvalidInputError, match="as_pages"):
        read(one, as_pages=True)
    with pytest.raises(InvalidInputError, match="not one channel, plane or range"):
        read([tmp_path / BRUKER.format(c=1, t=t) for t in (1, 4)])


def test_files_of_two_ome_movies_are_refused_by_name(tmp_path, movie):
    ome(tmp_path, movie.reshape(6, 2, 8, 10), "all")
    tifffile.imwrite(tmp_path / "zz.tif", movie, photometric="minisblack")
    with pytest.raises(
        InvalidInputError, match="describe a movie of 12 files, and 1 more are listed: zz.tif"
    ):
        read(tmp_path)


def test_a_file_without_its_metadata_file_says_what_to_do(tmp_path, movie):
    ome(tmp_path, movie.reshape(6, 2, 8, 10), "companion")
    (tmp_path / "run.companion.ome").unlink()
    with pytest.raises(InvalidInputError, match=r"run\.companion\.ome, which is not beside it"):
        read(tmp_path / BRUKER.format(c=1, t=1))
    np.testing.assert_array_equal(read(tmp_path), movie.reshape(6, 2, 8, 10))


def test_files_of_other_types_are_joined(tmp_path, movie):
    np.save(tmp_path / "a_1.npy", movie[:5])
    np.save(tmp_path / "a_2.npy", movie[5:])
    with open_source(tmp_path) as opened:
        np.testing.assert_array_equal(opened.read(2, 9), movie[2:9])
        assert opened.origins(4, 6) == [(str(tmp_path / "a_1.npy"), 4), (str(tmp_path / "a_2.npy"), 0)]
    np.save(tmp_path / "a_3.npy", movie.astype("int16"))
    with pytest.raises(InvalidInputError, match=r"a_3\.npy: its frames are int16"):
        read(tmp_path)


def test_words_and_times_of_all_files_are_kept(tmp_path, movie):
    for number, start in enumerate((0, 6)):
        with h5py.File(tmp_path / f"a_{number}.nwb", "w") as file:
            series = file.create_group("acquisition/series")
            series.attrs["neurodata_type"] = "TwoPhotonSeries"
            series.attrs["comments"] = f"part {number}"
            series["data"] = movie[start : start + 6]
            series["timestamps"] = np.arange(start, start + 6) / 10
    with open_source(tmp_path) as opened:
        recording = opened.recording
        np.testing.assert_array_equal(opened.read(0, 12), movie)
    np.testing.assert_array_equal(recording.timestamps, np.arange(12) / 10)
    words = b" ".join(document.data for document in recording.documents)
    assert b"part 0" in words and b"part 1" in words
    assert any(document.name.startswith("a_1.nwb/") for document in recording.documents)


def test_what_is_no_movie_is_refused(tmp_path, movie):
    with pytest.raises(InvalidInputError, match="folder is not supported"):
        read(tmp_path)
    with pytest.raises(StoreNotFoundError, match="no file matches"):
        read(str(tmp_path / "*.tif"))
    pages(tmp_path, movie[:2])
    np.save(tmp_path / "x.npy", movie)
    with pytest.raises(InvalidInputError, match="several types"):
        read(tmp_path)
    with pytest.raises(StoreNotFoundError, match=r"m_9\.tif"):
        read([tmp_path / "m_0.tif", tmp_path / "m_9.tif"])


def test_many_files_need_few_handles(tmp_path):
    movie = make_movie((200, 4, 4), "uint16")
    pages(tmp_path, movie)
    with open_source(tmp_path) as opened:
        assert len(_opened) <= 128
        for start in (150, 0, 199):
            np.testing.assert_array_equal(opened.read(start, start + 1), movie[start : start + 1])
        (tmp_path / "m_0.tif").unlink()
        pages(tmp_path, movie[1:2])
        opened.read(60, 200)
        with pytest.raises(CorruptDataError, match=r"m_0\.tif: the file was replaced"):
            opened.read(0, 1)


def test_progress_is_told(tmp_path):
    pages(tmp_path, make_movie((130, 4, 4), "uint16"))
    told = []
    read(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] >= 128 and {total for _, total in told} == {130}


class TestTruncated:
    """The last file was cut off."""

    def cut(self, path, nbytes):
        os.truncate(path, os.path.getsize(path) - nbytes)
        os.utime(path, (1e9, 1e9))

    @pytest.mark.parametrize("left", [0, 100])
    def test_a_last_page_is_left_out(self, tmp_path, movie, left):
        pages(tmp_path, movie)
        last = tmp_path / "m_11.tif"
        self.cut(last, last.stat().st_size - left)
        with pytest.raises(CorruptDataError, match="truncated='keep' stores these 11"):
            read(tmp_path)
        with open_source(tmp_path, truncated="keep") as opened:
            np.testing.assert_array_equal(opened.read(0, 11), movie[:11])
            assert opened.shape[0] == opened.truncation.frames == 11

    def test_a_last_stack_keeps_its_whole_frames(self, tmp_path, movie):
        tifffile.imwrite(tmp_path / "a_1.tif", movie[:6], photometric="minisblack")
        tifffile.imwrite(tmp_path / "a_2.tif", movie[6:], photometric="minisblack")
        self.cut(tmp_path / "a_2.tif", 1200)
        kept = read(tmp_path, truncated="keep")
        assert 6 < len(kept) < 12
        np.testing.assert_array_equal(kept, movie[: len(kept)])

    def test_a_file_in_the_middle_is_refused(self, tmp_path, movie):
        for number, start in enumerate((0, 4, 8)):
            tifffile.imwrite(tmp_path / f"a_{number}.tif", movie[start : start + 4], photometric="minisblack")
        self.cut(tmp_path / "a_1.tif", 1000)
        with pytest.raises(CorruptDataError, match=r"a_1\.tif"):
            read(tmp_path, truncated="keep")

    def test_a_truncated_npy_keeps_its_whole_frames(self, tmp_path, movie):
        np.save(tmp_path / "m.npy", movie)
        self.cut(tmp_path / "m.npy", 100)
        with pytest.raises(CorruptDataError, match="truncated='keep' stores these 11"):
            read(tmp_path / "m.npy")
        with open_source(tmp_path / "m.npy", truncated="keep") as opened:
            assert opened.truncation.to_dict()["promised"] == 12
            np.testing.assert_array_equal(opened.read(0, 11), movie[:11])

    def test_a_file_that_is_still_written_is_not_taken_for_truncated(self, tmp_path, movie):
        np.save(tmp_path / "m.npy", movie)
        self.cut(tmp_path / "m.npy", 100)
        os.utime(tmp_path / "m.npy")
        with pytest.raises(CorruptDataError, match="changed 0 s ago: wait until it is complete"):
            read(tmp_path / "m.npy", truncated="keep")
        os.utime(tmp_path / "m.npy", (1e9, 1e9))
        with open_source(tmp_path / "m.npy", truncated="keep") as opened:
            with (tmp_path / "m.npy").open("ab") as file:
                file.write(b"more")
            with pytest.raises(CorruptDataError, match="grown"):
                opened.truncation.refuse_growth()

    @pytest.mark.skipif(not os.path.exists("/proc"), reason="only Linux tells who writes")
    def test_an_old_file_that_is_open_for_writing_is_still_written(self, tmp_path, movie):
        np.save(tmp_path / "m.npy", movie)
        self.cut(tmp_path / "m.npy", 100)
        with (tmp_path / "m.npy").open("ab"), pytest.raises(CorruptDataError, match="open for writing"):
            read(tmp_path / "m.npy", truncated="keep")
