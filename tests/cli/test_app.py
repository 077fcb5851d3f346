"""The frame: listing, lazy loading, errors in one line, exit codes, interrupts."""

import functools
import importlib
import json
import operator
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points

import numpy as np
import pytest

import photon_gpu as pg
import photon_gpu.store.claim
import photon_gpu.store.overwrite
from photon_gpu.cli.app import COMMANDS, _holds_a_lock, load
from tests.support.folder_contents import tree

_HEAVY = (
    "numpy",
    "numba",
    "zarr",
    "tifffile",
    "h5py",
    "matplotlib",
    "fsspec",
    "numcodecs",
    "photon_gpu.writer.encode",
)


def shell(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "photon_gpu", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def loaded_by(*words):
    """Modules in memory after a command."""
    program = (
        "import sys\nfrom photon_gpu.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)
    assert done.stdout
    return set(done.stderr.split())


def test_the_list_of_commands_loads_none_of_them():
    modules = loaded_by("--help")
    assert not modules & set(_HEAVY)
    assert not {command.module for command in COMMANDS.values()} & modules


def test_the_help_of_a_command_loads_that_command_alone():
    modules = loaded_by("encode", "--help")
    assert "photon_gpu.cli.commands.movies.encode" in modules
    assert "photon_gpu.cli.commands.movies.decode" not in modules
    assert not modules & set(_HEAVY)


def test_version_and_no_arguments(cli):
    assert cli("--version").out.strip() == f"photon-gpu {pg.__version__}"
    alone = cli()
    assert alone.code == 0
    assert all(name in alone.out for name in COMMANDS)


def test_the_installed_command_is_this_one():
    (script,) = [e for e in entry_points(group="console_scripts") if e.name == "photon-gpu"]
    assert script.value == "photon_gpu.cli:main"
    done = shell("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"photon-gpu {pg.__version__}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_debug_and_an_example(name, cli):
    command = load(name)
    assert command.help.splitlines()[0] == COMMANDS[name].help
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--debug"} <= options
    shown = cli(name, "--help")
    assert shown.code == 0
    assert f"photon-gpu {name}" in shown.out.split("For example:")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encod", "a", "b"], "Did you mean 'encode'"),
        (["encode", "a.tif"], "Missing argument: SRC... DST are needed"),
        (["encode", "a.tif", "b.zarr", "--gian", "3"], "--gian"),
        (["encode", "a.tif", "b.zarr", "--gain", "abc"], "'abc' is not a number"),
        (["encode", "a.tif", "b.zarr", "--workers", "1.5"], "'1.5' is not a whole number"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(words, message, cli):
    ran = cli(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert message in ran.err
    assert "--help explains" in ran.err
    as_json = cli(*words, "--json")
    assert (as_json.code, as_json.out) == (2, "")
    error = json.loads(as_json.err)
    assert error["kind"] == "UsageError"
    assert message in error["error"]


def test_debug_shows_where_an_error_came_from(cli):
    plain, debug = cli("info", "nothing.zarr"), cli("info", "nothing.zarr", "--debug")
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert plain.err == debug.err.splitlines(keepends=True)[-1]
    assert plain.code == debug.code == 2


def test_an_error_nobody_foresaw_is_one_line_too(cli, stored, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("first line\nsecond \x1b[31mline")

    monkeypatch.setattr("photon_gpu.reader.open.open", broken)
    ran = cli("info", "ok.zarr")
    assert ran.code == 1
    assert ran.err == "error: RuntimeError: first line second \\x1b[31mline (--debug shows where)\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_encode_leaves_nothing_behind(number, code, tmp_path):
    np.lib.format.open_memmap(tmp_path / "long.npy", "w+", "uint16", (200_000, 4, 4)).flush()
    before = tree(tmp_path)
    words = ["encode", "long.npy", "made/movie.zarr", "--layout", "lossless", "--chunk-frames", "1", "--json"]
    ended = interrupt(words, number, tmp_path, lambda: (tmp_path / "made/movie.zarr/5.0.0").exists())
    assert ended.returncode == code
    assert ended.stdout == ""
    assert json.loads(ended.stderr) == {
        "error": f"stopped before it was done; {COMMANDS['encode'].interrupted}",
        "kind": "Interrupted",
    }
    assert tree(tmp_path) == before


def stopped(*args, **options):
    raise KeyboardInterrupt(2)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("app.load", "stopped before it was done; run it again"),
        ("console.show", "stopped while the report was printed; all else is done"),
    ],
)
def test_an_interrupt_outside_of_a_command_is_one_sentence_too(function, text, cli, stored, monkeypatch):
    monkeypatch.setattr(f"photon_gpu.cli.{function}", stopped)
    ran = cli("info", "ok.zarr")
    assert (ran.code, ran.err) == (130, f"error: {text}\n")


@pytest.mark.parametrize(
    ("late", "overwrite", "text"),
    [
        ("claim.Claim.publish", (), "movie.zarr is complete, and only its report is missing"),
        ("overwrite._remove_replaced", ("--overwrite",), "the new movie is complete; verify of"),
    ],
)
def test_an_interrupt_after_the_movie_is_whole_says_so(late, overwrite, text, tmp_path, cli, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((5, 4, 4), "uint16"))
    words = ["encode", str(tmp_path / "a.npy"), str(tmp_path / "movie.zarr"), "--layout", "lossless"]
    if overwrite:
        assert cli(*words).code == 0
    right = operator.attrgetter(late)(photon_gpu.store)
    monkeypatch.setattr(f"photon_gpu.store.{late}", lambda *args: (right(*args), stopped()))
    ran = cli(*words, *overwrite)
    assert (ran.code, text in ran.err, "removed" in ran.err) == (130, True, False)
    assert pg.verify(tmp_path / "movie.zarr").ok


@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_of_any_command_says_what_it_leaves(name, cli, monkeypatch):
    module = importlib.import_module(COMMANDS[name].module)
    right = getattr(module, name)

    @functools.wraps(right)
    def stopped(*args, **options):
        raise KeyboardInterrupt(2)

    monkeypatch.setattr(module, name, stopped)
    needed = [one for one in load(name).params if one.required and one.param_type_name == "argument"]
    ran = cli(name, *("a" for one in needed for _ in range(max(one.nargs, 2 if one.nargs < 0 else 1))))
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == f"error: stopped before it was done; {COMMANDS[name].interrupted}\n"


@pytest.mark.parametrize("name", ["out.npy", "out.zarr"])
def test_an_interrupted_decode_leaves_nothing_behind(name, tmp_path):
    movie = np.zeros((1500, 4, 4), "uint16")
    pg.encode(movie, tmp_path / "m.zarr", layout="lossless", chunk_frames=1)
    before = tree(tmp_path)
    ended = interrupt(
        ["decode", "m.zarr", name],
        signal.SIGINT,
        tmp_path,
        lambda: any(tmp_path.glob(".partial-*")) or any(tmp_path.glob("*out*")),
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == f"error: stopped before it was done; {COMMANDS['decode'].interrupted}\n"
    assert tree(tmp_path) == before


def interrupt(words, number, folder, begun):
    """Signal a command once it has begun to write."""
    child = subprocess.Popen(
        [sys.executable, "-m", "photon_gpu", *words],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not begun() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    return subprocess.CompletedProcess(words, child.returncode, out, err)


def test_a_reader_that_goes_away_is_no_traceback(stored):
    into, out_of = os.pipe()
    os.close(into)
    done = subprocess.run(
        [sys.executable, "-m", "photon_gpu", "info", str(stored), "--json"],
        stdout=out_of,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(out_of)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("module", "function", "locked"),
    [
        ("threading", "__enter__", True),
        ("concurrent.futures._base", "set_result", True),
        ("threading", "wait", False),
        ("photon_gpu.writer.encode", "encode", False),
    ],
)
def test_an_interrupt_waits_where_a_lock_of_threads_may_be_held(module, function, locked):
    space = {"__name__": module, "sys": sys}
    exec(f"def {function}(): return sys._getframe()", space)
    assert _holds_a_lock(space[function]()) is locked
    assert not _holds_a_lock(None)


@pytest.mark.parametrize(
    ("words", "at", "wanted"), [("photon-gpu enc", 1, "encode"), ("photon-gpu encode --lay", 2, "--layout")]
)
def test_a_shell_completes_commands_and_options(words, at, wanted):
    environment = {"_PHOTON_GPU_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    done = subprocess.run(
        [sys.executable, "-m", "photon_gpu"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert wanted in done.stdout.split()


def test_encode_does_without_linear_algebra_that_takes_long_to_import(tmp_path):
    np.save(tmp_path / "movie.npy", np.random.default_rng(0).poisson(20.0, (20, 32, 32)).astype("u2"))
    modules = loaded_by(
        "encode", str(tmp_path / "movie.npy"), str(tmp_path / "movie.zarr"), "--trust-noise", "--gain", "1"
    )
    assert "numba.np.arraymath" in modules
    assert "scipy.linalg" not in modules


def test_an_interrupt_within_a_finalizer_is_not_lost():
    program = """
import signal, time
from photon_gpu.cli import app
class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)
app._stop_cleanly()
Finalized()
time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGINT and "Exception ignored" not in done.stderr, done
