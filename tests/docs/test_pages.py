"""The pages do what they say: their examples run, their commands exist, the files they name are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

import photon_gpu as pg

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*.md"))]
TABLES = {"FORMAT.md"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(page: str, **names) -> dict:
    names["__name__"] = "page"
    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), names)
    return names


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run("docs/tutorial.md")
    message = capsys.readouterr().out
    assert names["estimate"].verdict == "PASS" and abs(names["estimate"].model.gain - 100) < 5
    assert names["report"].ratio > 4 and "every pixel compared with the source" in names["report"].checked
    assert names["frame"].dtype == "int16" and names["trace"].shape == (300,)
    assert "largest change of a pixel: 0.250 sigma" in message
    assert names["fidelity"].verdict == "PASS" and "whole: every file is what was written" in message
    assert "<svg" in (tmp_path / "tutorial-report.html").read_text()


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("README.md")
    assert "ratio" in capsys.readouterr().out
    assert pg.verify("movie.zarr").ok and pg.open("movie.zarr").layout == "compact"


def test_the_page_on_other_tools_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pg.encode(pg.simulate(frames=60, height=64, width=96, seed=1), "movie.zarr", layout="compact")
    names = run("docs/tools.md")
    assert names["extractor"].get_num_samples() == 60 and Path("session.nwb").stat().st_size > 60 * 64 * 96


def test_the_page_on_compressing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    light = np.linspace(2, 40, 48 * 64).reshape(48, 64)
    rng = np.random.default_rng(0)
    frames = 120 + 100 * rng.poisson(light, (220, 48, 64)) + rng.normal(0, 25, (220, 48, 64))
    tifffile.imwrite("raw.tif", frames.astype("uint16"))
    names = run("docs/compress.md")
    assert "every chunk read back" in names["report"].checked
    assert pg.open("movie.zarr").noise == names["noise"] and pg.verify("movie.zarr").ok


def test_the_page_on_choosing_a_step_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    raw = pg.simulate(frames=80, height=32, width=32, cells=3, seed=3)
    tifffile.imwrite("raw.tif", np.asarray(raw))
    names = run("docs/choose.md")
    assert names["choice"].recommended.step >= 0.25 and "tuning" in capsys.readouterr().out
    assert (tmp_path / "choice.png").exists()


COMMANDS = sorted(
    {
        (page.name, line.partition("#")[0].replace("\\|", "|").strip())
        for page in PAGES
        for line in re.findall(r"(?:^|`|\| |&& )(photon-gpu [a-z][^`\n]*)", page.read_text(), re.MULTILINE)
    }
)


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_and_option_exists(page, line):
    from typer.testing import CliRunner

    from photon_gpu.cli.app import COMMANDS as KNOWN
    from photon_gpu.cli.app import app

    try:
        words = shlex.split(line)
    except ValueError:  # a sentence that begins with a command
        words = line.split()
    name = words[1].strip(".,;:")
    assert name in KNOWN, f"{page}: {line}"
    message = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
    named = set(re.findall(r"--[a-z][\w-]+", " ".join(words[2:])))
    assert named <= set(re.findall(r"--[\w-]+", message)), f"{page}: {line}"


def test_commands_were_found():
    assert {"encode", "estimate", "report", "verify", "record"} <= {line.split()[1] for _, line in COMMANDS}


def named_files() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.(?:py|md|toml|cff))`", text)
    return sorted({path for path in paths if "NAME" not in path})


@pytest.mark.parametrize("path", named_files())
def test_every_file_of_the_architecture_is_there(path):
    assert (ROOT / path).exists() or (ROOT / "photon_gpu" / path).exists()


def test_every_folder_is_in_the_architecture():
    named = set(named_files())
    for folder in sorted((ROOT / "photon_gpu").iterdir()):
        if (folder / "__init__.py").exists():
            inner = {f"{folder.name}/{path.name}/" for path in folder.iterdir() if path.is_dir()}
            assert f"{folder.name}/" in named or inner & named, folder.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page):
    """Tables, code and pictures may be longer."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    long = [
        line
        for line in text.splitlines()
        if len(line) > 100 and not line.lstrip().startswith(("|", "![")) and not line.startswith("    {")
    ]
    assert not long


def test_every_public_name_is_in_the_reference():
    pytest.importorskip("datajoint")
    import photon_gpu.dj

    text = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    named = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    wanted = {f"photon_gpu.{name}" for name in pg.__all__}
    wanted |= {f"photon_gpu.dj.{name}" for name in photon_gpu.dj.__all__}
    assert wanted <= named


def test_the_citation_is_of_this_version():
    assert f"\nversion: {pg.__version__}\n" in (ROOT / "CITATION.cff").read_text()
