"""The profile's pictures show what was measured."""

from __future__ import annotations

from photon_gpu.tools.profiling.plot import pareto, plot_profile
from photon_gpu.tools.profiling.preset_for_camera import Camera
from photon_gpu.tools.profiling.profile import Profile
from tests.support.profile_measurements import measured

FAST, SMALL = measured(preset="fast", seconds=0.01), measured(preset="small", stored_bytes=1_500_000)
WORSE = measured(preset="balanced", layout="plain", seconds=0.2, stored_bytes=3_000_000)


def test_the_front_holds_what_nothing_beats():
    assert pareto([WORSE, SMALL, FAST]) == [FAST, SMALL]


def test_bars_ceilings_and_points_are_drawn(tmp_path):
    camera = Camera.parse("100x100x50")
    result = Profile(
        machine="a machine",
        movie="a movie",
        shape=(10, 5, 5),
        dtype="uint16",
        step=0.5,
        seconds=1.0,
        camera=camera,
        ceilings={"memcpy, 1 core": 9000.0, "disk write": 500.0},
        measured=(FAST, SMALL, WORSE),
    )
    figure = plot_profile(result)
    bars, points = figure.axes
    heights = sorted(bar.get_height() for bar in bars.patches)
    assert heights == sorted(m.stage_rate(s) for m in result.measured for s in m.stages)
    assert {text.get_text() for text in bars.texts} == {"memcpy, 1 core", "disk write"}
    assert sum(len(dots.get_offsets()) for dots in points.collections) == 3
    front = points.lines[0]
    assert list(front.get_ydata()) == [FAST.ratio, SMALL.ratio]
    figure.savefig(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 10_000
