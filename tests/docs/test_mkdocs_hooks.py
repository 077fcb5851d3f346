"""The documentation site builds, and a broken link or an unknown name stops it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("mkdocs", reason="the site is built where the extra `docs` is installed")


def build(root: Path, site: Path) -> subprocess.CompletedProcess:
    """With ``--quiet`` MkDocs would overlook warnings, and ``--strict`` with it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_the_site_builds_without_a_warning(tmp_path):
    done = build(ROOT, tmp_path)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    for page in ("index", "tutorial", "FORMAT", "CHANGELOG", "reference/encode", "measured/comparison"):
        assert (tmp_path / f"{page}.html").stat().st_size > 5000, page
    assert "quantization step" in (tmp_path / "reference" / "encode.html").read_text().lower()
    assert 'class="mermaid"' in (tmp_path / "architecture.html").read_text()


def test_broken_links_stop_it(tmp_path):
    done = small_site(
        tmp_path,
        "[a](nowhere.md), [b](#nothing), [c](../FORMAT.md#no-section), ![d](none.png), [e](../setup.py)",
    )
    assert done.returncode != 0
    for message in ("nowhere.md", "#nothing", "#no-section", "none.png", "setup.py"):
        assert message in done.stderr, message


def test_an_unknown_name_stops_it(tmp_path):
    done = small_site(tmp_path, "::: photon_gpu.nothing")
    assert done.returncode != 0 and "photon_gpu.nothing" in done.stderr


def small_site(folder: Path, text: str) -> subprocess.CompletedProcess:
    """A site of one page, with the settings and hooks of the real one."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
    for name in ("FORMAT.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (folder / name).write_text("# A page of the repository\n")
    shutil.copy(ROOT / "docs" / "mkdocs_hooks.py", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder / "whole.yml")
    (folder / "photon_gpu").symlink_to(ROOT / "photon_gpu")
    (folder / "mkdocs.yml").write_text("INHERIT: whole.yml\nnav: [index.md]\n")
    return build(folder, folder / "site")
