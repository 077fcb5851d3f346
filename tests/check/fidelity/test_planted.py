"""A sound movie passes; every planted fault fails on the line that names it."""

import copy

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.check.fidelity.property_verdicts import LIMITS
from photon_gpu.engine.codec import encoding
from photon_gpu.engine.layouts import plain_decode
from photon_gpu.engine.model.anscombe import inverse_anscombe, inverse_anscombe_unbiased
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.reader.movie import Movie
from tests.support.noise.detector_models import resolved_photons


@pytest.fixture(scope="module")
def cells():
    """A two-photon movie with known truth: motion, activity, gain, offset, read noise."""
    movie = pg.simulate(frames=150, height=96, width=96, cells=12, activity=0.5, seed=4)
    return np.asarray(movie), movie.noise


@pytest.fixture
def fresh_tables():
    """Tables are shared and remembered: planted ones must not outlive a test."""
    forget_tables()
    yield
    forget_tables()


def forget_tables():
    encoding._table.cache_clear()
    plain_decode._label_table.cache_clear()


def stored(raw, noise, **options):
    pg.encode(raw, "memory://planted.zarr", noise=noise, overwrite=True, check=False, **options)
    return pg.open("memory://planted.zarr")


def failed(report):
    return {line.name for line in report.lines if line.status == "FAIL"}


@pytest.mark.parametrize("options", [{}, {"layout": "compact"}, {"dither": 5}, {"layout": "lossless"}])
def test_a_simulation_with_known_truth_passes(cells, options):
    raw, noise = cells
    report = pg.fidelity(raw, stored(raw, noise, **options))
    assert report.verdict == "PASS", str(report)
    assert {line.name for line in report.lines} == set(LIMITS)
    measured = {line.name for line in report.lines if line.status != "SKIP"}
    always = {"noise_model", "snr", "escaped", "inverse", "clipped", "bias", "averages", "variance", "slope"}
    assert always | {"percentiles", "dff", "events"} <= measured
    if not options:
        assert measured == set(LIMITS)


@pytest.mark.parametrize(
    ("gain", "photons", "read"),
    [(0.5, 40, 1.0), (1, 10, 0.6), (2.5, 3, 1.5), (300, 3, 150.0), (20, 100, 30.0)],
)
def test_other_detectors_pass_where_counts_are_read(gain, photons, read):
    """Labels of the plain layout may be coarse at few photons; that is a WARN, and said to be one."""
    movie = pg.simulate(
        frames=60,
        height=96,
        width=96,
        gain=gain,
        photons=photons,
        read_noise_adu=read,
        offset=1000,
        dtype="uint16",
        seed=9,
    )
    report = pg.fidelity(np.asarray(movie), stored(np.asarray(movie), movie.noise))
    assert {line.name for line in report.lines if line.status in ("WARN", "FAIL")} <= {"labels"}, str(report)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_noise_model_fails_on_the_noise_model(cells, factor):
    raw, noise = cells
    wrong = pg.NoiseModel(gain=noise.gain * factor, offset=noise.offset, variance=noise.variance)
    line = pg.fidelity(raw, stored(raw, wrong))["noise_model"]
    assert line.status == "FAIL"
    told = float(line.cause.split("nearer to ")[1].split(";")[0])
    assert abs(told / noise.gain - 1) < 0.1


def test_a_step_of_four_fails_on_the_step(cells):
    raw, noise = cells
    report = pg.fidelity(raw, stored(raw, noise, step=4.0))
    assert report["snr"].status == "FAIL" and "step of 4 sigma" in report["snr"].cause
    assert report["escaped"].status == report["inverse"].status == "PASS"
    assert report["bias"].cause == "" or "step" in report["bias"].cause


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_an_inverse_off_by_one_code_fails_on_the_inverse(cells, monkeypatch, fresh_tables, layout, by):
    raw, noise = cells
    right = CodeTable.decode_tables
    monkeypatch.setattr(
        CodeTable, "decode_tables", lambda self, low, high, d: right(self, low + by, high + by, d)
    )
    report = pg.fidelity(raw, stored(raw, noise, layout=layout))
    assert report["inverse"].status == report["bias"].status == "FAIL"
    assert ("upwards" if by > 0 else "downwards") in report["bias"].cause and "off by one" in report[
        "bias"
    ].cause
    assert report["escaped"].status == "PASS"  # what is stored is right


def planted_decoder(monkeypatch, values):
    """Decode code ``k`` to ``values(table, k)``."""

    def tables(self, low, high, dtype):
        result = values(self, np.arange(low, high + 1))
        out = np.dtype(dtype)
        return (np.rint(result) if out.kind in "iu" else result).astype(out)[np.newaxis]

    monkeypatch.setattr(CodeTable, "decode_tables", tables)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_rounding_always_down_fails_on_the_bias(monkeypatch, fresh_tables, gain):
    movie = pg.simulate(
        frames=60,
        height=96,
        width=96,
        gain=gain,
        photons=12,
        read_noise_adu=0.5,
        offset=20,
        dtype="uint16",
        seed=2,
    )
    raw = np.asarray(movie)
    assert pg.fidelity(raw, stored(raw, movie.noise))["bias"].status == "PASS"
    forget_tables()
    planted_decoder(monkeypatch, lambda t, k: np.floor(t.representatives(int(k[0]), int(k[-1]))))
    line = pg.fidelity(raw, stored(raw, movie.noise))["bias"]
    assert line.status == "FAIL" and "rounds down" in line.cause


def test_decoding_to_the_lower_edge_fails_on_the_bias(cells, monkeypatch, fresh_tables):
    raw, noise = cells
    planted_decoder(monkeypatch, lambda t, k: np.ceil(inverse_anscombe((k - 0.5) * t.step, t.noise)))
    line = pg.fidelity(raw, stored(raw, noise))["bias"]
    assert line.status == "FAIL" and "rounds down, to the lower edge" in line.cause


def test_the_unbiased_inverse_on_single_samples_fails_on_the_bias(cells, monkeypatch, fresh_tables):
    raw, noise = cells
    planted_decoder(monkeypatch, lambda t, k: inverse_anscombe_unbiased(k * t.step, t.noise))
    line = pg.fidelity(raw, stored(raw, noise))["bias"]
    assert line.status == "FAIL" and "for averages (Makitalo and Foi)" in line.cause


def test_codes_cut_to_eight_bits_fail_on_clipping(monkeypatch, fresh_tables):
    movie = pg.simulate(
        frames=60,
        height=64,
        width=64,
        gain=1,
        photons=3500,
        read_noise_adu=2,
        offset=0,
        dtype="uint16",
        motion=0,
        cells=0,
        seed=2,
    )
    raw = np.asarray(movie)
    sound = pg.fidelity(raw, stored(raw, movie.noise))
    assert sound.verdict == "PASS", str(sound)
    forget_tables()
    right = CodeTable.label_luts
    monkeypatch.setattr(CodeTable, "label_luts", lambda self: np.minimum(right(self), 255 * self.step))
    report = pg.fidelity(raw, stored(raw, movie.noise))
    assert report["clipped"].status == report["escaped"].status == "FAIL"
    assert "8 bits" in report["clipped"].cause and report["clipped"].value > 1000


class Tampered(Movie):
    """A movie whose counts are changed as they are read."""

    change = None

    def read(self, key, what):
        values = super().read(key, what)
        if what == "stabilized":
            return values
        whole = super().read(slice(None), what)
        changed = self.change(whole.astype(np.float64))
        changed = np.rint(changed) if values.dtype.kind in "iu" else changed
        return changed[key].astype(values.dtype)


def tampered(movie, change):
    out = copy.copy(movie)
    out.__class__ = Tampered
    out.change = change
    return out


def smoothed(z):
    return (np.roll(z, 1, 0) + 2 * z + np.roll(z, -1, 0)) / 4


def striped(z):
    return z + 60.0 * (np.arange(z.shape[1]) // 2 % 2)[:, None]


CHANGES = {
    "cut at 8 bits of ADU": (lambda z: np.minimum(z, 255.0), {"clipped", "inverse", "worst", "bias"}),
    "raised at the dark end": (lambda z: np.maximum(z, 150.0), {"clipped"}),
    "smoothed over time": (smoothed, {"variance"}),
    "striped": (striped, {"white", "averages"}),
    "dimmed by 15 percent": (lambda z: 0.85 * z, {"uncorrelated", "bias", "averages", "percentiles"}),
    "noise added": (lambda z: z + np.random.default_rng(0).normal(0, 300, z.shape), {"variance", "dff"}),
    "slope doubled": (lambda z: 2 * z, {"slope", "inverse"}),
    "events cut off": (lambda z: np.minimum(z, np.median(z, 0) + 60), {"events"}),
    "one bright pixel lost": (lambda z: np.where(z == z.max(), 0, z), {"inverse", "worst"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_done_to_a_movie_fails_on_its_line(cells, name):
    raw, noise = cells
    change, expected = CHANGES[name]
    report = pg.fidelity(raw, tampered(stored(raw, noise), change))
    assert expected <= failed(report), str(report)


def test_residuals_that_are_not_uniform_fail():
    """Values that were rounded to a coarser grid than the noise model knows of, before encoding."""
    movie = pg.simulate(
        frames=60, height=96, width=96, gain=100, photons=30, read_noise_adu=100, motion=0, seed=1
    )
    raw = (np.asarray(movie) // 500 * 500).astype("int16")
    assert pg.fidelity(raw, stored(raw, movie.noise))["uniform"].status == "FAIL"


def test_labels_warn_where_single_photons_are_resolved():
    movie = pg.simulate(
        frames=60, height=64, width=64, gain=1, photons=0.5, offset=0, read_noise_adu=0, dtype="uint8", seed=1
    )
    raw = np.asarray(movie)
    report = pg.fidelity(raw, stored(raw, pg.NoiseModel()))
    assert report["labels"].status == "WARN" and "use movie.counts" in report["labels"].cause
    assert report["bias"].status == "PASS"


def test_a_store_larger_than_its_movie_fails_on_efficiency():
    """As the documents literally do it: unquantized values in float64."""
    import zarr

    movie = pg.simulate(frames=100, height=96, width=96, seed=1)
    raw = np.asarray(movie)
    memory = pg.Storage.at("memory://literal.zarr")
    group = zarr.create_array(
        zarr.storage.FsspecStore.from_url("memory://literal.zarr"),
        shape=raw.shape,
        chunks=(100, 96, 96),
        dtype="<f8",
        fill_value=None,
        filters=None,
        zarr_format=2,
        overwrite=True,
        compressors=__import__("numcodecs").Blosc(cname="zstd", clevel=5, shuffle=2),
        attributes={
            "codec_version": "1.0",
            "codec_name": "photon",
            "anscombe_gain": 100.0,
            "anscombe_offset": 90.0,
            "anscombe_variance": 900.0,
            "original_dtype": "int16",
        },
    )
    group[:] = pg.anscombe(raw, pg.NoiseModel(gain=100, offset=90, variance=900))
    report = pg.fidelity(raw, memory)
    assert report["efficiency"].status == "FAIL" and "larger than the raw one" in report["efficiency"].cause
    assert report["escaped"].status == "PASS" and report["bias"].status == "PASS"


def test_a_step_that_compresses_badly_is_named(cells):
    """Labels of the plain layout are float64: a step of 0.35 fills their mantissas."""
    raw, noise = cells
    line = pg.fidelity(raw, stored(raw, noise, step=0.35))["efficiency"]
    assert line.status == "WARN" and "a step like 0.35" in line.cause
    assert pg.fidelity(raw, stored(raw, noise, step=0.35, layout="compact"))["efficiency"].status == "PASS"


def test_a_bias_of_resolved_photons_names_them_and_the_dither_that_removes_it():
    """Near 4 photons a bin of step 0.5 is as wide as the photon peaks are apart."""
    values = resolved_photons(3.5, 0.125, gain=80.0)
    noise = pg.NoiseModel(gain=80.0, offset=500.0, variance=10.0**2)
    line = pg.fidelity(values, stored(values, noise, trust_noise=True))["bias"]
    assert line.status == "FAIL" and "photons are resolved" in line.cause and "dither=0" in line.cause
    kept = pg.fidelity(values, stored(values, noise, trust_noise=True, dither=0))
    assert kept["bias"].status == "PASS" and kept.verdict != "FAIL", str(kept)
