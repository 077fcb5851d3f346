"""What is shown: progress on a terminal, lines that are lines, JSON that is JSON."""

import json
import logging
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from photon_gpu.cli.console import _presentable, collected_warnings, fail, one_line


def on_a_terminal(words, folder, **streams):
    """Run a command on a terminal of 100 columns, or given streams; return it and what it showed."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    inner, outer = pty.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    child = subprocess.Popen(
        [sys.executable, "-m", "photon_gpu", *words],
        cwd=folder,
        env=environment,
        stdin=outer,
        **{"stdout": outer, "stderr": outer, **streams},
    )
    os.close(outer)
    shown = b""
    while True:
        try:
            data = os.read(inner, 1 << 16)
        except OSError:  # how Linux says that the terminal was closed
            break
        if not data:
            break
        shown += data
    out = child.stdout.read() if child.stdout else b""
    child.wait(timeout=60)
    os.close(inner)
    return child.returncode, out.decode(), shown.decode()


@pytest.fixture
def long_movie(tmp_path):
    np.save(tmp_path / "long.npy", np.random.default_rng(0).poisson(9, (600, 64, 64)).astype("uint16"))
    return tmp_path


def test_a_terminal_shows_progress_and_then_the_report(long_movie):
    words = ["encode", "long.npy", "a.zarr", "--gain", "1", "--chunk-frames", "2", "--preset", "fast"]
    code, _, shown = on_a_terminal(words, long_movie)
    assert code == 0, shown
    assert "preparing" in shown
    assert "encoding" in shown
    assert "MB/s" in shown.split("stored as")[0]
    assert "left" in shown
    assert "ratio" in shown
    # The bar is gone before the report comes: its line is erased.
    assert "\x1b[2K" in shown.split("movie")[0][-40:]


def test_with_json_progress_stays_off_stdout(long_movie):
    words = ["encode", "long.npy", "a.zarr", "--gain", "1", "--chunk-frames", "2", "--json"]
    code, out, shown = on_a_terminal(words, long_movie, stdout=subprocess.PIPE)
    assert code == 0, shown
    assert json.loads(out)["shape"] == [600, 64, 64]
    assert out.count("\n") == 1
    assert "encoding" in shown


def test_without_a_terminal_there_is_no_progress_and_no_color(cli, long_movie):
    ran = cli("encode", "long.npy", "a.zarr", "--gain", "1")
    assert ran.err == ""
    assert "\x1b" not in ran.out


def test_errors_are_red_on_a_terminal(tmp_path):
    code, _, shown = on_a_terminal(["info", "none.zarr"], tmp_path)
    assert code == 2
    assert "\x1b[1;31merror:\x1b[0m" in shown


def test_a_line_is_one_line_and_steers_no_terminal():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("bad \x1b]0;title\x07 name") == "bad \\x1b]0;title\\x07 name"
    assert one_line("give overwrite=True") == "give --overwrite"
    assert one_line("Müller µm") == "Müller µm"


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_of_somebody_else_tells_no_password(capsys, as_json, debug):
    """What fsspec raises names the URL as it was opened."""
    error = FileNotFoundError("https://me:hunter2@host/run.zarr/.zarray?X-Amz-Signature=0abc is missing")
    error.add_note("s3://key:s3cret@bucket/run.zarr")
    fail(error, [], as_json, debug)
    text = capsys.readouterr().err
    assert "https://me:***@host/run.zarr/.zarray?*** is missing" in text and "key:***@bucket" in text
    assert not any(secret in text for secret in ("hunter2", "0abc", "s3cret"))


def test_json_has_no_nan():
    assert _presentable({"a": [1.0, float("nan")], "b": (float("inf"), "x")}) == {
        "a": [1.0, None],
        "b": [None, "x"],
    }


def test_a_name_that_is_no_text_is_shown_all_the_same(tmp_path):
    name = os.fsdecode(b"caf\xe9.npy")
    np.save(tmp_path / name, np.zeros((3, 4, 4), "uint16"))
    done = subprocess.run(
        [sys.executable, "-m", "photon_gpu", "encode", name, "a.zarr", "--layout", "lossless", "--json"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == name


def test_a_warning_that_was_shown_is_not_in_the_report_again(long_movie):
    frames = np.load(long_movie / "long.npy")[:200] * 12  # gain 12 adds 9 % where the model says 38
    frames.tofile(long_movie / "cam.raw")
    words = ["record", "cam.raw", "a.zarr", "--shape", "64,64", "--dtype", "uint16", "--idle-seconds", "0.1"]
    code, _, shown = on_a_terminal([*words, "--gain", "38"], long_movie)
    lines = [line for line in shown.replace("\r", "\n").split("\n") if "contradict it" in line]
    assert lines and len(lines) == len({line.partition("chunk")[2][:3] for line in lines}), shown


def test_a_cache_that_matplotlib_cannot_keep_is_no_warning():
    with collected_warnings(as_json=True) as warned:
        logging.getLogger("matplotlib").warning("mkdir -p failed for path config/matplotlib: read-only")
        logging.getLogger("matplotlib").warning("Bad value in file 'matplotlibrc', line 3")
        logging.getLogger("tifffile").warning("a tag is damaged")
    assert warned == ["matplotlib: Bad value in file 'matplotlibrc', line 3", "tifffile: a tag is damaged"]
