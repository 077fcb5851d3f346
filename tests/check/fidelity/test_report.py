"""The report itself: complete, self-contained, the same every time, and readable by machines."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.check.fidelity import property_verdicts as line_module
from photon_gpu.check.fidelity.figures import PANELS, svg
from photon_gpu.check.fidelity.noise_by_level import expected_variance
from photon_gpu.check.fidelity.property_verdicts import LIMITS, Limit, ReportLine, verdict
from photon_gpu.check.fidelity.sample import neighbours, plan
from photon_gpu.check.fidelity.traces import agreement, smooth
from photon_gpu.errors import CorruptDataError, InvalidInputError


@pytest.fixture(scope="module")
def cells():
    movie = pg.simulate(frames=120, height=64, width=80, cells=10, activity=0.6, seed=8)
    pg.encode(movie, "memory://report.zarr", noise=movie.noise, overwrite=True)
    return np.asarray(movie), movie.noise


@pytest.fixture(scope="module")
def report(cells):
    return pg.fidelity(cells[0], "memory://report.zarr")


def chromium():
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        None,
    )


def test_the_page_is_one_file_that_asks_for_nothing(report, tmp_path):
    text = report.save(tmp_path / "r.html").read_text()
    assert len(text) < 2_000_000
    assert not re.search(r"<script|<link|<iframe|@import|src=\"(?!data:)|url\((?!#)", text)
    # Links lead within the page, or are data; names of XML vocabularies are never fetched.
    assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="([^"]*)"', text))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'data-line="(\w+)"', text)) == set(LIMITS)
    assert set(re.findall(r'data-plot="(\w+)"', text)) == set(PANELS)
    for line in report.lines:
        assert line.limit.text() in text


def test_what_comes_from_files_cannot_steer_the_page(cells, tmp_path):
    raw, noise = cells
    store = tmp_path / "<img src=x onerror=alert(1)>.zarr"
    pg.encode(raw[:20], store, noise=noise)
    assert "<img" not in pg.fidelity(raw[:20], store).save(tmp_path / "r.html").read_text()


@pytest.mark.skipif(chromium() is None, reason="no Chromium here: the page was not opened in a browser")
def test_a_real_browser_shows_it_with_no_network(report, tmp_path):
    page = report.save(tmp_path / "r.html")
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1200,3600",
        "--proxy-server=127.0.0.1:9",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    picture = tmp_path / "shot.png"
    subprocess.run(
        [*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120, check=True
    )
    from matplotlib.image import imread

    shot = imread(picture)[..., :3]
    assert shot.shape[:2] == (3600, 1200)
    rows = shot.std(axis=(1, 2))
    assert (rows > 0.01).mean() > 0.5  # drawn on most of its height
    green = np.array([0, 158, 115]) / 255
    assert (np.abs(shot - green).max(-1) < 0.02).sum() > 5000  # the badge and pills of a movie that passes


def test_a_report_is_saved_as_png_and_json(report, tmp_path):
    from matplotlib.image import imread

    assert imread(report.save(tmp_path / "r.png")).shape[0] > 1500
    kept = json.loads(report.save(tmp_path / "r.json").read_text())
    assert kept == json.loads(json.dumps(report.to_dict()))
    assert kept["verdict"] == report.verdict == "PASS"
    assert {line["name"] for line in kept["lines"]} == set(LIMITS)
    assert all(line["reason"] and line["title"] for line in kept["lines"])
    with pytest.raises(InvalidInputError, match=r"\.html, \.png and \.json"):
        report.save(tmp_path / "r.pdf")


def test_the_same_movie_gives_the_same_report(cells, report):
    again = pg.fidelity(cells[0], pg.open("memory://report.zarr"))
    assert again.lines == report.lines
    assert svg("bias", again) == svg("bias", report)


def test_the_full_report_counts_every_pixel(cells):
    raw, _ = cells
    report = pg.fidelity(raw, "memory://report.zarr", pixels=100_000, full=True)
    assert f"{raw.size:,} pixels of the movie" in report["escaped"].found
    part = pg.fidelity(raw, "memory://report.zarr", pixels=100_000)
    assert "in the sample" in part["escaped"].found and f"{raw.size:,}" not in part["escaped"].found


def test_one_bad_pixel_outside_the_sample_is_found_by_full_alone(cells):
    raw, _ = cells
    other = raw.copy()
    other[60, 0, 0] += 3000
    assert pg.fidelity(other, "memory://report.zarr", pixels=100_000)["escaped"].status == "PASS"
    line = pg.fidelity(other, "memory://report.zarr", pixels=100_000, full=True)["escaped"]
    assert line.status == "FAIL" and line.value == 1


def test_another_recording_is_refused(cells):
    raw, _ = cells
    for other in (raw[:-1], raw.astype("int32"), raw[:, :, :-1]):
        with pytest.raises(InvalidInputError, match="give the recording that the movie was encoded from"):
            pg.fidelity(other, "memory://report.zarr")
    with pytest.raises(InvalidInputError, match="pixels is"):
        pg.fidelity(raw, "memory://report.zarr", pixels=0)


def test_a_damaged_movie_is_an_error(cells):
    raw, noise = cells
    pg.encode(raw, "memory://damaged.zarr", noise=noise, chunk_frames=40, overwrite=True)
    pg.Storage.at("memory://damaged.zarr").write("1.0.0", b"x")
    with pytest.raises(CorruptDataError, match="frames 40 to 79"):
        pg.fidelity(raw, "memory://damaged.zarr")


@pytest.mark.parametrize(
    "shape", [(1, 40, 40), (2, 30, 30), (3, 5, 5), (60, 1, 1), (1, 1, 1), (5, 2, 20, 20), (40, 3, 9)]
)
@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_movies_of_odd_shapes(shape, layout, tmp_path):
    raw = np.random.default_rng(0).poisson(30, shape).astype("uint16")
    pg.encode(raw, tmp_path / "odd.zarr", layout=layout, noise=pg.NoiseModel())
    report = pg.fidelity(raw, tmp_path / "odd.zarr", full=True)
    assert report["escaped"].status == "PASS" and report.verdict != "FAIL", str(report)
    if layout == "plain":
        report.save(tmp_path / "odd.html")


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint32", "int32", "uint8"])
def test_movies_of_other_dtypes_get_a_report(dtype, tmp_path):
    movie = pg.simulate(
        frames=40,
        height=40,
        width=40,
        gain=2,
        photons=20,
        offset=30,
        read_noise_adu=2,
        seed=1,
        activity=0,
        dtype=dtype,
    )
    pg.encode(movie, tmp_path / "t.zarr", noise=movie.noise, layout="compact")
    report = pg.fidelity(movie, tmp_path / "t.zarr")
    assert report.ok, str(report)


def test_a_black_movie_and_a_constant_one(tmp_path):
    for value in (0, 100):
        raw = np.full((60, 16, 16), value, "uint16")
        pg.encode(raw, tmp_path / "c.zarr", overwrite=True, noise=pg.NoiseModel())
        report = pg.fidelity(raw, tmp_path / "c.zarr")
        assert report["variance"].status == "SKIP" and report["escaped"].status == "PASS"
        report.save(tmp_path / "c.html")


def test_lossless_without_a_model(tmp_path):
    raw = np.random.default_rng(0).normal(size=(9, 8, 8)).astype("float32")
    raw[2, 3, 3] = np.nan
    pg.encode(raw, tmp_path / "l.zarr", layout="lossless")
    report = pg.fidelity(raw, tmp_path / "l.zarr")
    assert report["escaped"].found.startswith("0 bytes differ") and report.ok
    report.save(tmp_path / "l.html")
    report.save(tmp_path / "l.png")
    raw[1, 1, 1] += 1
    assert pg.fidelity(raw, tmp_path / "l.zarr")["escaped"].status == "FAIL"


def test_regions_may_be_given(cells):
    raw, _ = cells
    labels = np.zeros(raw.shape[1:], int)
    labels[10:20, 10:20], labels[30:40, 50:60] = 7, 9
    report = pg.fidelity(raw, "memory://report.zarr", regions=labels)
    assert "in 2 regions" in report["dff"].found
    with pytest.raises(InvalidInputError, match="regions have shape"):
        pg.fidelity(raw, "memory://report.zarr", regions=labels[:, :5])


def test_limits_grade_and_say_so():
    limit = Limit(title="t", warn=1, fail=2, unit=" %", reason="r")
    assert [limit.grade(v) for v in (0, 1, 1.5, 2, 2.1, float("nan"), float("inf"))] == [
        "PASS",
        "PASS",
        "WARN",
        "WARN",
        "FAIL",
        "FAIL",
        "FAIL",
    ]
    assert limit.text() == "PASS up to 1 %, FAIL above 2 %"
    line = ReportLine(name="bias", status="SKIP", value=None, found="")
    assert verdict((line,)) == "PASS"
    assert verdict((line, line_module.measured("bias", 4, ""))) == "WARN"
    assert verdict((line_module.measured("bias", 4, ""), line_module.measured("bias", 9, ""))) == "FAIL"


def test_a_plan_covers_time_and_stays_within_the_budget():
    for shape in (
        (100_000, 512, 512),
        (5000, 2048, 2048),
        (20, 5000, 5000),
        (7, 3, 300, 300),
        (10_000_000, 8, 8),
    ):
        spans = plan(shape, 1 << 22)
        rows = int(np.prod(shape[1:-1]))
        pixels = sum(len(span.frames) * (span.bottom - span.top) * shape[-1] for span in spans)
        assert all(span.frames[0] >= 0 and span.frames[-1] < shape[0] for span in spans)
        assert all(0 <= span.top < span.bottom <= rows for span in spans)
        assert pixels <= 2 * (1 << 22)
    frames = np.concatenate([span.frames for span in plan((100_000, 512, 512), 1 << 24)])
    assert frames.min() == 0 and frames.max() == 99_999


def test_a_plan_leaves_out_lost_frames():
    lost = (*((i, i + 1) for i in range(0, 1000, 2)), (600, 800))
    for pixels in (1 << 10, 1 << 18, 1 << 30):
        spans = plan((1000, 64, 64), pixels, lost=lost, chunk_frames=100)
        frames = np.concatenate([span.frames for span in spans])
        assert (frames % 2 == 1).all() and not ((frames >= 600) & (frames < 800)).any()
        assert min(frames) == 1 and max(frames) == 999
    assert plan((10, 8, 8), 100, lost=((0, 20),)) == []


def test_short_blocks_lie_within_one_chunk():
    for chunk_frames in (7, 20, 100):
        _, *short = plan((1000, 64, 64), 1 << 18, chunk_frames=chunk_frames, run_frames=18)
        assert len(short) == 8
        assert all(span.frames[0] // chunk_frames == span.frames[-1] // chunk_frames for span in short)
    assert len(plan((300, 512, 512), 1 << 18, chunk_frames=100, run_frames=18)) == 1 + 3


def test_neighbours_leave_the_pixel_itself_out():
    raw = np.random.default_rng(0).integers(0, 1000, (7, 6, 5)).astype("uint16")
    mean = neighbours(raw)
    for t, y, x in ((0, 0, 0), (3, 2, 2), (6, 5, 4), (1, 0, 3)):
        near = raw[max(t - 2, 0) : t + 3, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].astype(float)
        assert np.isclose(mean[t, y, x], (near.sum() - raw[t, y, x]) / (near.size - 1), rtol=1e-5)


def test_expected_variance_against_a_simulation():
    rng = np.random.default_rng(0)
    model = pg.NoiseModel(gain=20.0, offset=50.0, variance=100.0)
    for photons in (0.2, 2.0, 30.0):
        values = 50 + 20 * rng.poisson(photons, 400_000) + 10 * rng.standard_normal(400_000)
        assert np.isclose(
            expected_variance(model, np.array([photons]))[0], pg.anscombe(values, model).var(), rtol=0.02
        )


def test_events_agree_by_their_frames_and_traces_are_smoothed():
    assert agreement([np.array([3, 10])], [np.array([4, 30])]) == 0.5
    assert agreement([np.array([3, 4])], [np.array([3])]) == 2 / 3
    assert agreement([np.array([])], [np.array([])]) == 1
    assert smooth(np.array([[0.0], [3.0], [6.0], [0.0]])).ravel().tolist() == [1.5, 3.0, 3.0, 3.0]
