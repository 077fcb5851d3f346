"""The examples of docs/live.md and docs/live_sources.md run; their commands are commands."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

import photon_gpu as pg
from photon_gpu.live import LiveStatus, pending

DOCS = Path(__file__).parents[2] / "docs"
TEXT = "\n".join((DOCS / name).read_text() for name in ("live.md", "live_sources.md"))


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        if "pg.recover" in code:
            _crash(names)
        exec(compile(code, "pages", "exec"), names)
    text = capsys.readouterr().out
    assert "250 in | 250 safe | 250 stored" in text and "\n[]\n" in text and "whole: every file" in text
    assert "(250, True)" not in text and "250 False" in text
    assert names["report"].frames == 250 and names["safe"] == 250
    for name in "abcdef":
        assert pg.verify(f"{name}.zarr").ok
    assert pg.open("b.zarr").noise == names["model"]
    assert len(pg.open("f.zarr")) == 3


def _crash(names):
    """The recording of the page's first block, as a kill leaves it."""
    shutil.rmtree("run.zarr")
    live = pg.LiveWriter(
        "run.zarr",
        frame_shape=(64, 64),
        dtype="int16",
        noise=names["model"],
        durability="frame",
        spool="fast-disk",
    )
    live.append(names["frames"])
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    assert pending("fast-disk")


def test_every_field_of_the_status_is_explained():
    named = set(re.findall(r"`(\w+)`", TEXT.split("## Watch a recording")[1].split("## After a crash")[0]))
    assert {field.name for field in fields(LiveStatus)} - named == {"seconds"}


COMMANDS = re.findall(r"(photon-gpu (?:record|watch) [^`\n]*)`", TEXT)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_exists(command):
    from typer.testing import CliRunner

    from photon_gpu.cli.app import app

    words = shlex.split(command)
    text = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"}).stdout
    named = {word for word in words if word.startswith("--")} | {"--durability", "--spool", "--noise-from"}
    assert named <= set(re.findall(r"--[\w-]+", text))


def test_the_page_shows_commands():
    assert len(COMMANDS) == 6
