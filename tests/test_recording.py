"""Description of a recording: what it accepts, what it refuses, and its round trip through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import Document, Recording

FULL = {
    "axes": "tcyx",
    "channel_names": ("green", "red"),
    "pixel_size": {"y": (0.5, "um"), "x": (1, "\u03bcm")},
    "frame_rate": 30,
    "rois": ({"rows": [0, 8]},),
    "not_kept": ("array 'mask'",),
}


def test_a_recording_survives_json_without_its_times_and_documents():
    document = Document(name="Software", media_type="text/plain", data=b"SI\xff")
    recording = Recording(**FULL, timestamps=[0, np.nan, 2], documents=(document,))
    back = Recording.from_dict(json.loads(json.dumps(recording.to_dict())))
    assert back.to_dict() == recording.to_dict() and back.timestamps is None and back.documents == ()
    assert back.pixel_size == {"y": (0.5, "µm"), "x": (1.0, "µm")}
    assert recording.timestamps.dtype == np.float64 and not recording.is_empty
    assert recording.document("Software").text.encode("utf-8", "surrogateescape") == b"SI\xff"


def test_what_is_not_known_is_not_written():
    assert Recording().is_empty and Recording().to_dict() == {}
    assert not Recording(timestamps=[1.0]).is_empty


@pytest.mark.parametrize(
    "field",
    [
        {"axes": "tyxq"},
        {"axes": "tyy"},
        {"channel_names": (1,)},
        {"pixel_size": {"q": (1, "um")}},
        {"pixel_size": {"x": 0.5}},
        {"pixel_size": {"x": (0, "um")}},
        {"frame_rate": float("nan")},
        {"frame_rate": True},
        {"timestamps": [[1.0]]},
        {"timestamps": [np.inf]},
        {"timestamps": ["noon"]},
        {"documents": (Document(name="a", media_type="b", data=b""),) * 2},
    ],
    ids=str,
)
def test_a_field_that_makes_no_sense_is_refused(field):
    with pytest.raises(InvalidInputError):
        Recording(**field)


def test_axes_and_times_must_fit_the_movie():
    Recording(axes="tyx", timestamps=[1, 2]).check_shape((2, 8, 8), "movie")
    with pytest.raises(InvalidInputError, match="2 timestamps arrived for 3 frames"):
        Recording(timestamps=[1, 2]).check_shape((3, 8, 8), "movie")
    with pytest.raises(InvalidInputError, match="3 dimensions"):
        Recording(axes="tyx").check_shape((3, 2, 8, 8), "movie")
