import io
import json
import math
import re

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

import photon_gpu.tools.demo
from photon_gpu.engine.codec.requested_part import STABILIZED
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.noise import noise_floor_bits
from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreExistsError
from photon_gpu.reader.movie import Movie
from photon_gpu.reader.open import open as open_movie
from photon_gpu.sources.simulated.movie import Simulation, simulate
from photon_gpu.tools.demo import STEP, Expected, demo
from photon_gpu.writer.encode import encode, encode_with

SMALL = Simulation(frames=57, height=40, width=48)  # frames of a last, partial block
LAYOUTS = ["plain", "compact", "lossless"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    calls = []
    folder = tmp_path_factory.mktemp("demo")
    return folder, demo(folder=folder, simulation=SMALL, progress=lambda *call: calls.append(call)), calls


@pytest.fixture(scope="module")
def small():
    source = simulate(SMALL)
    raw = source[:]
    return raw, source.noise, Expected.of(raw, source.noise, STEP)


def stored(raw, noise, layout, tmp_path):
    encode(raw, tmp_path / layout, noise=noise, step=STEP, layout=layout, preset="fast", chunk_frames=20)
    return open_movie(tmp_path / layout)


def test_every_layout_is_written_where_the_report_says_and_is_as_small_as_it_says(ran):
    folder, report, _ = ran
    assert [(row.layout, row.preset) for row in report.rows] == [
        ("plain", "balanced"),
        ("compact", "fast"),
        ("compact", "small"),
        ("lossless", "balanced"),
    ]
    assert report.raw_bytes == 57 * 40 * 48 * 2
    for row in report.rows:
        movie = open_movie(row.path)
        assert movie.layout == row.layout and movie.shape == (57, 40, 48)
        files = sum(path.stat().st_size for path in (folder / row.path).iterdir())
        assert files == row.stored_bytes
        assert row.ratio == pytest.approx(report.raw_bytes / files)
        if row.above_floor_percent is not None:
            bits = 8 * files / (57 * 40 * 48)
            assert row.above_floor_percent == pytest.approx(100 * (bits / noise_floor_bits(STEP) - 1))
        assert row.write_megabytes_per_second > 0 and row.read_megabytes_per_second > 0
    assert report.rows[-1].above_floor_percent is None


def test_the_errors_are_those_of_the_decoded_counts(ran):
    raw, noise = simulate(SMALL)[:], SMALL.noise
    for row in ran[1].rows:
        error = anscombe(open_movie(row.path).counts[:], noise) - anscombe(raw, noise)
        assert row.worst_error_sigma == pytest.approx(np.abs(error).max())
        assert row.rms_error_sigma == pytest.approx(math.sqrt((error**2).mean()))
        if row.layout == "lossless":
            assert row.worst_error_sigma == 0
        else:
            assert STEP / 4 < row.worst_error_sigma < STEP


def test_the_report_survives_json_and_lies_in_the_folder(ran):
    folder, report, _ = ran
    told = json.loads((folder / "demo.json").read_text())
    assert told == json.loads(json.dumps(report.to_dict()))
    assert Simulation.from_dict(told["simulation"]) == SMALL
    assert told["rows"][0]["layout"] == "plain"
    assert told["seconds"] > told["compile_seconds"]


def test_the_picture_is_drawn(ran):
    folder, report, _ = ran
    assert report.picture == str(folder / "demo.png")
    assert imread(folder / "demo.png")[..., :3].std() > 0.05


def test_the_table_shows_every_row(ran):
    report = ran[1]
    console = Console(file=io.StringIO(), width=120)
    console.print(report)
    text = console.file.getvalue()
    for row in report.rows:
        line = next(line for line in text.splitlines() if row.layout in line and row.preset in line)
        numbers = re.findall(r"[+-]?\d[\d.,]*", line)
        assert f"{row.ratio:.2f}" in numbers and f"{row.worst_error_sigma:.2f}" in numbers
    assert "every pixel checked" in text and "57 x 40 x 48 int16" in text


def test_progress_counts_every_frame_of_every_pass(ran):
    calls = ran[2]
    done, total = zip(*calls, strict=True)
    assert set(total) == {57 * 9}
    assert list(done) == sorted(done) and done[-1] == 57 * 9


def test_an_earlier_demo_is_replaced_and_what_others_put_there_is_kept(tmp_path):
    folder = tmp_path / "demo"
    assert demo(folder=folder, simulation=Simulation(frames=2, height=8, width=9)).picture is not None
    (folder / "notes.txt").write_text("mine")
    again = demo(folder=folder, simulation=Simulation(frames=1, height=8, width=9))
    assert open_movie(again.rows[0].path).shape == (1, 8, 9)
    assert (folder / "notes.txt").read_text() == "mine"
    # The noise of a single frame cannot be drawn, and no picture of the earlier movie is left.
    assert again.picture is None and not (folder / "demo.png").exists()
    assert json.loads((folder / "demo.json").read_text())["simulation"]["frames"] == 1


def test_a_foreign_folder_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tif").write_text("data")
    with pytest.raises(StoreExistsError, match=r"holds thesis\.tif, which no demo wrote"):
        demo(folder=tmp_path, simulation=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tif"]
    with pytest.raises(StoreExistsError, match="a file"):
        demo(folder=tmp_path / "thesis.tif", simulation=SMALL)
    assert (tmp_path / "thesis.tif").read_text() == "data"


def test_a_movie_of_floats_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="integers are needed"):
        demo(folder=tmp_path, simulation=Simulation(frames=2, height=4, width=4, dtype="float32"))


def test_the_expected_codes_are_the_definition(small):
    raw, noise, expected = small
    values = np.arange(raw.min(), raw.max() + 1)
    scaled = anscombe(values, noise) / STEP
    sure = np.abs(scaled - np.floor(scaled) - 0.5) > 1e-6
    assert sure.mean() > 0.99
    assert np.array_equal(expected.codes[sure], np.rint(scaled)[sure])
    assert ((expected.first <= values) & (values <= expected.last)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_check_passes_what_is_right(layout, small, tmp_path):
    raw, noise, expected = small
    frames = []
    worst, rms = expected.check(stored(raw, noise, layout, tmp_path), frames.append)
    assert sum(frames) == 57
    assert (worst == 0) == (layout == "lossless") == (rms == 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_wrong_pixel_fails_the_check_and_is_named(layout, small, tmp_path):
    raw, noise, expected = small
    wrong = raw.copy()
    wrong[53, 7, 11] += 400  # a bin or more
    with pytest.raises(CorruptDataError, match=r": 1 .* at frame 53, pixel \(7, 11\): raw") as caught:
        expected.check(stored(wrong, noise, layout, tmp_path))
    assert "report it" in str(caught.value)


@pytest.mark.parametrize(
    "layout, wrong, message",
    [
        ("compact", "counts", "counts lie outside the bin"),
        ("lossless", "counts", "counts differ from the raw movie"),
        ("plain", "stabilized", "codes differ from the exact ones"),
        ("lossless", "stabilized", "stabilized values differ"),
    ],
)
def test_a_movie_that_reads_wrongly_fails_the_check(layout, wrong, message, small, tmp_path):
    class Brighter(Movie):
        def read(self, key, what):
            values = super().read(key, what)
            right = (what == STABILIZED) == (wrong == "counts")
            return values if right else values + (0.3 * values).astype(values.dtype)

    raw, noise, expected = small
    movie = stored(raw, noise, layout, tmp_path)
    expected.check(movie)
    movie.__class__ = Brighter
    with pytest.raises(CorruptDataError, match=message):
        expected.check(movie)


def test_another_shape_or_dtype_fails_the_check(small, tmp_path):
    raw, noise, expected = small
    with pytest.raises(CorruptDataError, match=r"opens as \(56, 40, 48\) int16"):
        expected.check(stored(raw[1:], noise, "plain", tmp_path))
    with pytest.raises(CorruptDataError, match="int32"):
        expected.check(stored(raw.astype("int32"), noise, "lossless", tmp_path))


def test_a_demo_whose_check_fails_fails_and_reports_nothing(tmp_path, monkeypatch):
    def careless(settings, raw, *args, **options):
        return encode_with(settings, np.where(raw > 1500, 1500, raw).astype(raw.dtype), *args, **options)

    monkeypatch.setattr(photon_gpu.tools.demo, "encode_with", careless)
    with pytest.raises(CorruptDataError, match=r"plain\.zarr: \d+ codes differ"):
        demo(folder=tmp_path / "demo", simulation=SMALL)
    assert not (tmp_path / "demo" / "demo.json").exists()
    assert not (tmp_path / "demo" / "demo.png").exists()
