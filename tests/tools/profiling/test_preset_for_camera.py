"""What a camera asks for, and the advice given."""

from __future__ import annotations

import pytest

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.tools.profiling.preset_for_camera import Camera
from tests.support.profile_measurements import measured


def at(megabytes_per_second, ratio, **changes):
    return measured(
        raw_bytes=8_000_000, stored_bytes=int(8_000_000 / ratio), seconds=8 / megabytes_per_second, **changes
    )


def test_what_a_camera_gives():
    assert Camera.parse("512x512x30").megabytes_per_second == 512 * 512 * 30 * 2 / 1e6
    assert Camera.parse("2048X1024x99.5Hz", "uint8") == Camera(
        height=2048, width=1024, rate=99.5, dtype="uint8"
    )


@pytest.mark.parametrize("text", ["512x512", "512x512x30x2", "axbxc", "", "512x512x0", "-1x5x5"])
def test_what_is_no_camera(text):
    with pytest.raises(InvalidInputError, match="camera"):
        Camera.parse(text)


def test_pixels_are_those_a_movie_can_have():
    with pytest.raises(UnsupportedTypeError):
        Camera.parse("512x512x30", "complex64")


CAMERA = Camera(height=1000, width=1000, rate=50)  # 100 MB/s


def test_the_best_ratio_that_keeps_up_is_advised():
    fast, small, slow = (
        at(900, 4.7, preset="fast"),
        at(200, 5.0, preset="balanced"),
        at(140, 5.2, preset="small"),
    )
    advice = CAMERA.advice([fast, small, slow])
    assert advice.best is small and advice.fastest is fast
    assert advice.text == (
        "your camera: 1000 x 1000 x 50 Hz uint16 needs 100.0 MB/s; this machine does 900 (compact, "
        "fast, 2 cores). "
        "Use layout compact, preset balanced, on 2 cores: ratio 5.00 at 200 MB/s, 2.0 times what the "
        "camera needs"
    )


def test_of_equal_ratios_fewer_cores_are_advised():
    assert CAMERA.advice([at(900, 5.0, cores=8), at(200, 5.0, cores=2)]).best.cores == 2


def test_lossless_is_not_advised_unless_nothing_else_was_measured():
    lossless = at(900, 9.0, layout="lossless")
    assert CAMERA.advice([lossless, at(300, 4.0)]).best.layout == "compact"
    assert CAMERA.advice([lossless]).best is lossless


def test_where_nothing_keeps_up_it_says_so():
    advice = CAMERA.advice([at(120, 5.0)])
    assert advice.best is None and "None of the measured settings is 1.5 times as fast" in advice.text
    assert advice.to_dict()["preset"] is None
