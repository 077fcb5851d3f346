"""ScanImage files: how channels, planes, repeats and flyback frames are interleaved."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.open import open_source
from tests.support.sources.source_files import make_movie, write_scanimage

FAST = "SI.hFastZ.enable = true\nSI.hStackManager.enable = true\nSI.hStackManager.numSlices = 3\n"
FLYBACK = f"{FAST}SI.hFastZ.numDiscardFlybackFrames = 1\n"
NAMES = "SI.hChannels.channelName = {'green';'red';'far red'}\n"


@pytest.fixture
def scan(tmp_path):
    def write(pages, **options):
        return write_scanimage(tmp_path / "scan.tif", pages, **options)

    return write


def read(path, **options):
    with open_source(path, **options) as source:
        return source.read(0, source.shape[0]), source.recording


def test_a_volume_has_planes_and_channels(scan):
    volumes = make_movie((5, 3, 2, 8, 8))
    path = scan(volumes.reshape(-1, 8, 8), channels=2, header=FAST + NAMES)
    result, recording = read(path)
    np.testing.assert_array_equal(result, volumes)
    assert (recording.axes, recording.channel_names) == ("tzcyx", ("green", "red"))


def test_flyback_frames_are_planes_unless_they_are_named(scan):
    volumes = make_movie((5, 4, 2, 8, 8))
    numbers = np.repeat(np.arange(20) + 1, 2)
    path = scan(volumes.reshape(-1, 8, 8), channels=2, header=FLYBACK, numbers=numbers)
    result, recording = read(path)
    np.testing.assert_array_equal(result, volumes)
    assert recording.axes == "tzcyx" and recording.not_kept == ()
    with open_source(path) as source:
        assert "last 1 of 4 planes are flyback" in source.note(100)
    result, recording = read(path, flyback="drop")
    np.testing.assert_array_equal(result, volumes[:, :3])
    assert recording.not_kept == ("1 flyback frames of each volume",)
    with pytest.raises(InvalidInputError, match="'keep' and 'drop'"):
        read(path, flyback="no")


@pytest.mark.parametrize("volumes", [4, 5])
def test_flyback_frames_that_were_not_saved_show_in_the_frame_numbers(scan, volumes):
    planes = make_movie((volumes, 3, 8, 8))  # of 4 volumes, 12 pages divide by 4 as well
    numbers = [4 * volume + plane + 1 for volume in range(volumes) for plane in range(3)]
    result, _ = read(scan(planes.reshape(-1, 8, 8), header=FLYBACK, numbers=numbers))
    np.testing.assert_array_equal(result, planes)


@pytest.mark.parametrize("averaged, repeats", [(1, 6), (3, 2), (6, 1)])
def test_repeats_of_a_plane_follow_each_other_in_time(scan, averaged, repeats):
    header = "SI.hStackManager.enable = true\nSI.hStackManager.numSlices = 3\n"
    header += f"SI.hStackManager.framesPerSlice = 6\nSI.hScan2D.logAverageFactor = {averaged}\n"
    pages = make_movie((2, 3, repeats, 8, 8))  # volume, plane, repeat
    result, recording = read(scan(pages.reshape(-1, 8, 8), header=header))
    np.testing.assert_array_equal(result, pages.swapaxes(1, 2).reshape(-1, 3, 8, 8))
    assert recording.axes == "tzyx"


def test_a_volume_that_was_cut_off_is_refused_with_the_ways_out(scan):
    pages = make_movie((11, 8, 8))
    path = scan(pages, header=FAST)
    with pytest.raises(CorruptDataError, match=r"volumes of 3 pages.*volumes=False.*missing='zero'") as error:
        read(path)
    assert len(str(error.value).replace(str(path.parent), "")) <= 300
    result, recording = read(path, volumes=False)
    np.testing.assert_array_equal(result, pages)
    assert recording.axes == "tyx"
    with pytest.warns(match="lacks frames 3"):
        result, _ = read(path, missing="zero")
    np.testing.assert_array_equal(result.reshape(-1, 8, 8), [*pages, np.zeros((8, 8))])


def test_channel_numbers_name_channels_without_names(scan):
    path = scan(make_movie((6, 8, 8)), channels=3, header="SI.hChannels.channelSave = [1;3;4]\n")
    _, recording = read(path)
    assert recording.channel_names == ("channel 1", "channel 3", "channel 4")


def test_rows_of_each_region_are_read_from_the_header(scan):
    def region(name, rows):
        field = {"pixelResolutionXY": [8, rows], "centerXY": [0, 0], "sizeXY": [5, 5]}
        return {"name": name, "zs": 0, "scanfields": field}

    rois = json.dumps({"imagingRoiGroup": {"rois": [region("a", 10), region("b", 12), region("c", 10)]}})
    strips = make_movie((4, 10 + 3 + 12 + 3 + 10, 8))
    result, recording = read(scan(strips, header="SI.hRoiManager.mroiEnable = true\n", rois=rois))
    np.testing.assert_array_equal(result, strips)
    assert [(roi["name"], roi["rows"]) for roi in recording.rois] == [
        ("a", [0, 10]),
        ("b", [13, 25]),
        ("c", [28, 38]),
    ]
    _, recording = read(scan(strips, header="SI.hRoiManager.mroiEnable = false\n", rois=rois))
    assert recording.rois == ()
