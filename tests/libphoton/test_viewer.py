"""The example page in Chromium: it scrubs through movies on an S3 server by range requests."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.store.ome_zarr import shards
from tests.support import servers
from tests.support.chromium import Chromium
from tests.support.faults.faulty_network import options
from tests.support.noise.one_camera_movies import CAMERA, camera_movie
from tests.support.npm import npm_install

FOLDER = Path(__file__).parents[2] / "libphoton"
VALUES = camera_movie(75, 48, 64)


class Page(NamedTuple):
    server: str
    folder: Path


class WholeFiles(http.server.SimpleHTTPRequestHandler):
    """Answers with whole files, as ``python -m http.server`` does, and says nothing about CORS."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page on a server, with zarrita beside it."""
    pytest.importorskip("ziglang", reason="pip install ziglang")
    folder = tmp_path_factory.mktemp("libphoton")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.wasm", "*.so"))
    npm_install(folder / "wasm", "zarrita@0.7")
    make = ["make", "-s", "wasm/photon.wasm", f"PYTHON={sys.executable}"]
    subprocess.run(make, cwd=folder, check=True, timeout=900)
    handler = functools.partial(WholeFiles, directory=folder / "wasm")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Page(f"http://127.0.0.1:{server.server_port}", folder / "wasm")
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with servers.seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint


@pytest.fixture
def stored(endpoint, monkeypatch):
    """Encode to the S3 server, three chunks in a shard; return what a browser opens, and the movie."""

    def encode(name, values=VALUES, **settings):
        monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 10 * 48 * 64 * 2)
        source = pg.open_source(values)
        source.recording = source.recording.replace(frame_rate=20.0, **settings.pop("recording", {}))
        url, s3 = f"s3://imaging/{name}", options(endpoint)
        pg.encode(
            source, url, storage_options=s3, chunk_frames=10, overwrite=True, **{"noise": CAMERA, **settings}
        )
        return f"http://{endpoint}/imaging/{name}", pg.open(url, storage_options=s3)

    return encode


def opened(browser, page, movie):
    """Open a movie in the page, and return once it is shown or an error is."""
    browser.open(f"{page.server}/viewer.html?url={movie}")
    deadline = time.monotonic() + 60
    while not browser.run("!document.getElementById('movie').hidden || error.textContent"):
        assert time.monotonic() < deadline, "neither a movie nor an error is shown"
        time.sleep(0.05)
    return browser.run("error.textContent")


def scrubbed(browser, frame, indices=()):
    """Move the sliders as a hand does; return what the page then holds, draws, and says."""
    for number, value in enumerate([frame, *indices]):
        element = "document.querySelectorAll('#frame, #axes input')"
        browser.run(
            f"{element}[{number}].value = {value}, {element}[{number}].dispatchEvent(new Event('input'))"
        )
    return browser.run(
        """(async () => {
            const { show, shown } = await import("./viewer.mjs");
            await show();
            const { width, height } = canvas;
            const pixels = Array.from(canvas.getContext("2d").getImageData(0, 0, width, height).data);
            const [low, high] = ["low", "high"].map((id) => Number(document.getElementById(id).value));
            const values = Array.from(shown.values, Number);
            return { values, pixels, low, high, text: position.value, error: error.textContent };
        })()"""
    )


def check_frame(result, expected):
    """Compare the values of an image, and the grey levels that are drawn, with what they should be."""
    assert result["error"] == ""
    np.testing.assert_array_equal(result["values"], expected.ravel())
    low, high = result["low"], result["high"]
    grey = np.clip((expected.ravel().astype(float) - low) * (255 / (high - low)), 0, 255)
    pixels = np.reshape(result["pixels"], (-1, 4))
    assert (pixels[:, 3] == 255).all() and np.ptp(pixels[:, :3], axis=1).max() == 0
    np.testing.assert_allclose(pixels[:, 0], grey, atol=0.501)
    assert np.ptp(pixels[:, 0]) > 200


@pytest.mark.parametrize("name", ["compact.ome.zarr", "compact.zarr"])
def test_frames_are_the_counts_and_cost_at_most_two_ranges(browser, page, stored, name):
    url, movie = stored(name, layout="compact")
    counts = movie.counts[...]
    assert opened(browser, page, url) == ""
    check_frame(scrubbed(browser, 0), counts[0])
    for frame, most in ((47, 2), (44, 0), (35, 1), (74, 2), (3, 0), (29, 1)):
        browser.requests.clear()
        result = scrubbed(browser, frame)
        check_frame(result, counts[frame])
        assert result["text"] == f"frame {frame} / 74 · {frame / 20:.3f} s"
        ours = [request for request in browser.requests if url in request["url"]]
        ranges = [request for request in ours if "Range" in request["headers"]]
        if name.endswith(".ome.zarr"):
            assert len(ranges) == most and len(ours) <= most + 1
            assert len(ours) == len(ranges) + (most == 2), "HEAD says how long a shard is"
        else:
            assert len(ours) == min(most, 1) and not ranges, "a chunk of a folder is an object"


def test_channels_and_planes_have_sliders(browser, page, stored):
    values = VALUES[:72].reshape(18, 2, 2, 48, 64)
    url, movie = stored(
        "two.ome.zarr", values, layout="compact", noise=[CAMERA, CAMERA], recording={"axes": "tczyx"}
    )
    counts = movie.counts[...]
    assert opened(browser, page, url) == ""
    assert browser.run("axes.textContent.split(' ').filter(Boolean)") == ["channel", "plane"]
    for indices in ((0, 0), (1, 0), (0, 1), (1, 1)):
        result = scrubbed(browser, 13, indices)
        check_frame(result, counts[(13, *indices)])
        assert result["text"].endswith(f"c {indices[0]} · z {indices[1]}")


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_other_layouts_open_as_well(browser, page, stored, layout):
    url, movie = stored(f"{layout}.ome.zarr", layout=layout)
    assert opened(browser, page, url) == ""
    expected = movie[21] if layout == "plain" else movie.counts[21]
    check_frame(scrubbed(browser, 21), expected)
    assert ("stabilized values" if layout == "plain" else "counts") in browser.run("facts.textContent")


def test_many_moves_of_the_slider_end_at_the_last(browser, page, stored):
    url, movie = stored("moves.ome.zarr", layout="compact")
    assert opened(browser, page, url) == ""
    browser.run(
        """for (const value of [70, 5, 33, 61, 12]) {
            frame.value = value;
            frame.dispatchEvent(new Event("input"));
        }"""
    )
    result = scrubbed(browser, 52)
    check_frame(result, movie.counts[52])


def test_it_plays(browser, page, stored):
    url, _ = stored("plays.ome.zarr", layout="compact")
    assert opened(browser, page, url) == ""
    browser.run("frame.value = 70, rate.value = 200, play.click()")
    deadline = time.monotonic() + 60
    while browser.run("position.value").split()[1] not in ("3", "4", "5", "6", "7", "8", "9"):
        assert time.monotonic() < deadline, "it does not begin again after the last frame"
    browser.run("play.click()")
    assert browser.run("play.textContent") == "Play" and browser.run("error.textContent") == ""


def test_what_cannot_be_shown_is_said_in_words(browser, page, stored, endpoint, tmp_path):
    url, _ = stored("broken.ome.zarr", layout="compact")
    fs = servers.s3(endpoint)
    assert "holds no stored movie" in opened(browser, page, f"http://{endpoint}/imaging/none.ome.zarr")
    assert "No answer" in opened(browser, page, "http://127.0.0.1:9/none.zarr")

    assert opened(browser, page, url) == ""
    shard = "imaging/broken.ome.zarr/0/c/1/0/0"
    data = fs.cat_file(shard)
    fs.pipe_file(shard, data[:200] + bytes(40) + data[240:])
    browser.run("frame.value = 35, frame.dispatchEvent(new Event('input'))")
    browser.run("import('./viewer.mjs').then(({ show }) => show()).catch(() => {})")
    assert browser.run("error.textContent") != ""
    fs.rm_file(shard)
    assert opened(browser, page, url) == ""
    browser.run("frame.value = 35, frame.dispatchEvent(new Event('input'))")
    browser.run("import('./viewer.mjs').then(({ show }) => show()).catch(() => {})")
    assert "is missing" in browser.run("error.textContent")

    pg.encode(VALUES, tmp_path / "m.ome.zarr", noise=CAMERA, layout="compact")
    handler = functools.partial(WholeFiles, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = f"http://127.0.0.1:{server.server_port}"
        assert "CORS" in opened(browser, page, f"{other}/m.ome.zarr")
        server.shutdown()
    shutil.copytree(tmp_path / "m.ome.zarr", page.folder / "m.ome.zarr")
    assert "sends whole files" in opened(browser, page, f"{page.server}/m.ome.zarr")
