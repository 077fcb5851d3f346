"""``encode(check=True)`` reads back what it wrote; a source goes only after every pixel matched."""

import json
import warnings

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.store.storage import Storage

LAYOUTS = ("plain", "compact", "lossless")


@pytest.fixture(scope="module")
def cells():
    movie = pg.simulate(frames=50, height=48, width=48, seed=3)
    return np.asarray(movie), movie.noise


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("check", [True, "full"])
def test_a_sound_encode_says_what_was_checked(cells, tmp_path, layout, check):
    raw, noise = cells
    report = pg.encode(raw, tmp_path / "a.zarr", noise=noise, layout=layout, chunk_frames=20, check=check)
    assert report.checked.startswith("every chunk read back")
    assert ("every pixel compared with the source" in report.checked) == (check == "full")
    assert {line["name"] for line in report.checks} >= {"noise_model", "escaped", "bias", "variance"}
    assert all(line["status"] in ("PASS", "SKIP") for line in report.checks), report.checks
    assert "checked" in str(report) and json.loads(json.dumps(report.to_dict()))["checks"]
    assert report.stages["check"] > 0
    plain = pg.encode(raw, tmp_path / "b.zarr", noise=noise, layout=layout, chunk_frames=20, check=False)
    assert plain.checked == "" and plain.checks == ()


class Failing(Storage):
    """A store that keeps something else than it was given, or nothing."""

    fault = None

    def write(self, name, data, **options):
        if name == "1.0.0" and self.fault is not None:
            data = self.fault(data)
            if data is None:
                return
        super().write(name, data, **options)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda data: data[:-1], "not the .* written"),
        (lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:], "not the .* written"),
        (lambda data: None, "does not exist"),
    ],
)
def test_what_the_store_altered_is_an_error_and_nothing_is_kept(cells, tmp_path, fault, message):
    raw, noise = cells
    store = Failing(Storage.at(tmp_path / "a.zarr").fs, str(tmp_path / "a.zarr"))
    store.fault = fault
    with pytest.raises(CorruptDataError, match=rf"frames 20 to 39\).*{message}"):
        pg.encode(raw, store, noise=noise, chunk_frames=20, check=True)
    assert list(tmp_path.glob("a.zarr*")) == [] or not any((tmp_path / "a.zarr").iterdir())
    # Without the check nobody would have noticed before the first read.
    pg.encode(raw, store, noise=noise, chunk_frames=20, check=False)
    assert not pg.verify(tmp_path / "a.zarr").ok


@pytest.mark.parametrize("check", [True, "full"])
def test_a_broken_decoder_is_an_error_and_nothing_is_kept(cells, tmp_path, monkeypatch, check):
    raw, noise = cells
    right = CodeTable.decode_tables
    monkeypatch.setattr(
        CodeTable, "decode_tables", lambda self, low, high, d: right(self, low + 1, high + 1, d)
    )
    other = pg.NoiseModel(
        gain=noise.gain + 0.125, offset=noise.offset, variance=noise.variance
    )  # its own tables
    with pytest.raises(CorruptDataError, match="outside the bin"):
        pg.encode(raw, tmp_path / "a.zarr", noise=other, check=check)
    assert not (tmp_path / "a.zarr" / ".zarray").exists()


def test_one_wrong_pixel_anywhere_is_found_by_the_full_check_alone(tmp_path, monkeypatch):
    """A sample of a large movie misses it."""
    from photon_gpu.engine.layouts.plain import Plain

    monkeypatch.setattr("photon_gpu.writer.read_back.SAMPLE_PIXELS", 50_000)
    movie = pg.simulate(frames=200, height=48, width=48, seed=3)
    raw = np.asarray(movie)
    right = Plain.encode

    def encode(self, values, chunk, resources, first_frame=0):
        if first_frame == 40:
            values = values.copy()
            values[3, 2, 2] += 2000
        return right(self, values, chunk, resources, first_frame)

    monkeypatch.setattr(Plain, "encode", encode)
    report = pg.encode(raw, tmp_path / "a.zarr", noise=movie.noise, chunk_frames=20, check=True)
    assert report.checked
    with pytest.raises(CorruptDataError, match=r"1 of 460,800 pixels of the movie"):
        pg.encode(raw, tmp_path / "b.zarr", noise=movie.noise, chunk_frames=20, check="full")


@pytest.mark.parametrize(("options", "name"), [({"step": 4.0}, "snr"), ({"noise": "wrong"}, "noise_model")])
def test_what_the_user_chose_badly_is_a_warning(cells, tmp_path, options, name):
    raw, noise = cells
    if options.get("noise"):
        options = {"noise": pg.NoiseModel(gain=3 * noise.gain, offset=90, variance=900), "trust_noise": True}
    with pytest.warns(pg.FidelityWarning, match=f"a.zarr fails its own check: .*{name}"):
        report = pg.encode(raw, tmp_path / "a.zarr", check=True, **{"noise": noise, **options})
    assert f"a sample fails on: {'noise_model' if name == 'noise_model' else ''}" in report.checked
    assert name in report.failed and report.passed is False and report.exit_code == 1
    assert report.failed == tuple(line["name"] for line in report.checks if line["status"] == "FAIL")
    movie = pg.open(tmp_path / "a.zarr")
    assert tuple(movie.failed_check) == report.failed and f"FAILS its own check: {name}" in repr(movie)
    verification = pg.verify(tmp_path / "a.zarr")
    assert [(p.kind, p.frames) for p in verification.problems] == [("failing", None)] and not verification.ok
    assert "whole, but it fails its own check" in str(verification) and verification.frames_lost == 0
    fixed = pg.repair(tmp_path / "a.zarr", raw)
    assert not fixed.restored and "nothing is damaged" in str(fixed)


def test_the_verdict_is_the_last_key_and_a_sound_movie_has_none(cells, tmp_path):
    raw, noise = cells
    own = {"attributes": {"mouse": "M1"}, "chunk_frames": 20, "noise": noise}
    with pytest.warns(pg.FidelityWarning):
        pg.encode(raw, tmp_path / "bad.zarr", step=4.0, check=True, **own)
    pg.encode(raw, tmp_path / "unchecked.zarr", step=4.0, check=False, **own)
    bad, plain = (
        json.loads((tmp_path / f"{name}.zarr" / ".zattrs").read_text()) for name in ("bad", "unchecked")
    )
    assert list(bad) == [*plain, "fidelity_check"]
    verdict = bad.pop("fidelity_check")
    assert bad == plain and verdict["verdict"] == "FAIL"
    (line, *_) = verdict["failed"]
    assert line["name"] == "snr" and line["unit"] == "%" and line["value"] > line["fail_above"] == 13.5
    for check in (True, "full", "sample"):
        report = pg.encode(raw, tmp_path / "good.zarr", check=check, overwrite=True, **own)
        assert report.passed is True and report.failed == () and report.exit_code == 0
        good = {path.name: path.read_bytes() for path in (tmp_path / "good.zarr").iterdir()}
        assert b"fidelity_check" not in good[".zattrs"] + good[".manifest.json"]
        pg.encode(raw, tmp_path / "same.zarr", overwrite=True, check=False, **own)
        assert good == {path.name: path.read_bytes() for path in (tmp_path / "same.zarr").iterdir()}
    assert pg.encode(raw, tmp_path / "same.zarr", overwrite=True, check=False, **own).passed is None


def test_a_warning_made_an_error_keeps_nothing_and_an_older_movie_stays(cells, tmp_path):
    raw, noise = cells
    pg.encode(raw, tmp_path / "old.zarr", noise=noise, check=True)
    for check in (True, "full", "sample"):
        for name, options in (("new.zarr", {}), ("old.zarr", {"overwrite": True})):
            with warnings.catch_warnings():
                warnings.simplefilter("error", pg.FidelityWarning)
                with pytest.raises(pg.FidelityWarning, match="snr"):
                    pg.encode(raw, tmp_path / name, noise=noise, step=4.0, check=check, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["old.zarr"]
    assert pg.open(tmp_path / "old.zarr").step == 0.5 and pg.verify(tmp_path / "old.zarr").ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sample_of_what_is_encoded_needs_no_reading_back(cells, tmp_path, layout):
    raw, noise = cells
    store = Failing(Storage.at(tmp_path / "a.zarr").fs, str(tmp_path / "a.zarr"))
    store.fault = lambda data: data[:-1]  # which the sample does not see
    options = {"layout": layout, "chunk_frames": 20, "check": "sample"}
    report = pg.encode(raw, store, noise=noise, **options)
    assert "not what was stored; lines checked on a sample: " in report.checked
    full = pg.encode(raw, tmp_path / "b.zarr", noise=noise, **{**options, "check": True})
    assert [line["name"] for line in report.checks] == [line["name"] for line in full.checks]
    if layout != "lossless":
        wrong = pg.NoiseModel(gain=9 * noise.gain, offset=noise.offset, variance=noise.variance)
        with pytest.warns(pg.FidelityWarning, match="noise_model"):
            pg.encode(raw, tmp_path / "c.zarr", noise=wrong, trust_noise=True, **options)
        assert "noise_model" in pg.open(tmp_path / "c.zarr").failed_check


@pytest.mark.parametrize("check", [True, "full", "sample"])
@pytest.mark.parametrize("pixels", [1 << 12, 1 << 18])
def test_lost_frames_are_left_out_of_the_sample(cells, tmp_path, monkeypatch, check, pixels):
    """Zeros in place of half the frames would fail every line on noise."""
    monkeypatch.setattr("photon_gpu.writer.read_back.SAMPLE_PIXELS", pixels)
    raw, noise = cells
    source = pg.open_source(np.where(np.arange(len(raw))[:, None, None] % 2, 0, raw))
    source.lost = tuple((i, i + 1) for i in range(1, len(raw), 2))
    report = pg.encode(source, tmp_path / "a.zarr", noise=noise, chunk_frames=20, check=check)
    assert report.passed and {line["name"]: line["status"] for line in report.checks}["bias"] == "PASS"
    assert pg.fidelity(np.asarray(source.read(0, len(raw))), tmp_path / "a.zarr")["bias"].status == "PASS"
    source.lost = ((0, len(raw)),)
    assert pg.encode(source, tmp_path / "b.zarr", noise=noise, trust_noise=True, check=check).checks == ()


def test_a_resumed_encode_also_samples_the_chunks_that_were_there(cells, tmp_path, monkeypatch):
    raw, noise = cells
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", -1.0)
    source = pg.open_source(raw)
    read = source.read

    def fails(start, stop):
        if stop > 40 and start >= 40:
            raise OSError("unplugged")
        return read(start, stop)

    options = {"noise": noise, "trust_noise": True, "chunk_frames": 10, "workers": 1}
    source.read = fails
    with pytest.raises(OSError, match="unplugged"):
        pg.encode(source, tmp_path / "a.zarr", **options)
    source.read = read
    report = pg.encode(source, tmp_path / "a.zarr", resume=True, **options)
    whole = pg.encode(raw, tmp_path / "b.zarr", **options)
    assert report.passed and report.checks == whole.checks, report


def test_a_sample_knows_which_chunks_it_still_needs(cells, tmp_path):
    from photon_gpu.check.fidelity.sample_during_encode import PlannedSample

    raw, noise = cells
    whole = pg.encode(raw, tmp_path / "a.zarr", noise=noise, chunk_frames=20)
    sample = PlannedSample(pg.open(tmp_path / "a.zarr")._layout, raw.shape, (20, 48, 48), pixels=1 << 18)
    assert sample.missing == {0, 1, 2}
    sample.add(1, (tmp_path / "a.zarr" / "1.0.0").read_bytes(), raw[20:40])
    assert sample.missing == {0, 2} and len(sample.lines()) == len(whole.checks)


def test_a_movie_without_noise_is_not_judged_by_it(tmp_path):
    still = np.full((20, 16, 16), 110, "uint16")
    report = pg.encode(still, tmp_path / "a.zarr", noise=pg.NoiseModel(), check=True)
    assert report.passed and {line["status"] for line in report.checks} == {"PASS", "SKIP"}


def test_the_key_of_the_verdict_is_not_a_callers(cells, tmp_path):
    with pytest.raises(InvalidInputError, match="'fidelity_check' is photon_gpu's own key"):
        pg.encode(cells[0], tmp_path / "a.zarr", noise=cells[1], attributes={"fidelity_check": {}})
    assert not (tmp_path / "a.zarr").exists()


def test_an_altered_verdict_is_told_and_breaks_nothing(cells, tmp_path):
    pg.encode(cells[0], tmp_path / "a.zarr", noise=cells[1])
    path = tmp_path / "a.zarr" / ".zattrs"
    (tmp_path / "a.zarr" / ".manifest.json").unlink()
    attributes = json.loads(path.read_text())
    for verdict in (
        None,
        3,
        [],
        {"failed": 7},
        {"failed": [{"name": "snr"}]},
        {"failed": [{"name": 3, "found": []}]},
    ):
        path.write_text(json.dumps({**attributes, "fidelity_check": verdict}))
        assert "FAILS its own check" in repr(pg.open(tmp_path / "a.zarr"))
        assert "failing" in {problem.kind for problem in pg.verify(tmp_path / "a.zarr").problems}


def test_lossless_without_a_model_and_floats_with_nan(tmp_path):
    raw = np.random.default_rng(0).normal(size=(9, 8, 8)).astype("float32")
    raw[2, 3, 3] = np.nan
    report = pg.encode(raw, tmp_path / "a.zarr", layout="lossless", chunk_frames=4, check="full")
    assert report.checked == "every chunk read back, every pixel compared with the source: whole"


def test_bad_values_of_check(cells, tmp_path):
    raw, noise = cells
    for check in ("yes", 1, None, 2.0):
        with pytest.raises(InvalidInputError, match="check is"):
            pg.encode(raw, tmp_path / "a.zarr", noise=noise, check=check)
    assert not (tmp_path / "a.zarr").exists()


@pytest.fixture(params=["npy", "tif"])
def file(request, cells, tmp_path):
    path = tmp_path / f"raw.{request.param}"
    if request.param == "npy":
        np.save(path, cells[0])
    else:
        tifffile.imwrite(path, cells[0], photometric="minisblack")
    return path


def test_a_source_goes_after_a_full_check(cells, file, tmp_path):
    raw, noise = cells
    report = pg.encode(str(file), tmp_path / "a.zarr", noise=noise, check="full", delete_source=True)
    assert not file.exists() and any(note.startswith(f"deleted {file}") for note in report.notes)
    assert np.abs(pg.open(tmp_path / "a.zarr")[...] - pg.anscombe(raw, noise)).max() <= 0.25 + 1e-9


@pytest.mark.parametrize("check", [False, True])
def test_a_source_stays_without_a_full_check(cells, file, tmp_path, check):
    with pytest.raises(InvalidInputError, match="check='full'"):
        pg.encode(str(file), tmp_path / "a.zarr", noise=cells[1], check=check, delete_source=True)
    assert file.exists() and not (tmp_path / "a.zarr").exists()


def test_a_source_stays_where_a_line_fails(cells, file, tmp_path):
    with pytest.warns(PhotonWarning):
        report = pg.encode(
            str(file), tmp_path / "a.zarr", noise=cells[1], step=4.0, check="full", delete_source=True
        )
    assert file.exists() and any("was kept: the check fails on" in note for note in report.notes)


def test_a_source_stays_where_it_changed_or_the_movie_did(cells, file, tmp_path, monkeypatch):
    from photon_gpu.writer import read_back

    finish = read_back.Checker.finish

    def later(self, files):
        with file.open("ab") as stream:
            stream.write(b"more")
        return finish(self, files)

    monkeypatch.setattr(read_back.Checker, "finish", later)
    with pytest.raises(CorruptDataError, match="changed while it was being encoded"):
        pg.encode(str(file), tmp_path / "a.zarr", noise=cells[1], check="full", delete_source=True)
    assert file.exists() and pg.verify(tmp_path / "a.zarr").ok


def test_sources_that_may_hold_more_than_the_movie_stay(cells, tmp_path):
    import h5py

    raw, noise = cells
    with h5py.File(tmp_path / "raw.h5", "w") as stream:
        stream["data"], stream["other"] = raw, [1, 2, 3]
    with tifffile.TiffWriter(tmp_path / "two.tif") as stream:
        stream.write(raw, photometric="minisblack")
        stream.write(raw[:3, :20], photometric="minisblack")
    for source in (str(tmp_path / "raw.h5::/data"), raw, pg.open_source(str(tmp_path / "two.tif"), series=0)):
        with pytest.raises(InvalidInputError, match="by hand"):
            pg.encode(source, tmp_path / "a.zarr", noise=noise, check="full", delete_source=True)
        assert not (tmp_path / "a.zarr").exists()
