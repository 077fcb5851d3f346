"""Packages for Node from npm's registry."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNREACHABLE = re.compile(r"\bcode (E(NOTFOUND|AI_AGAIN|CONN\w+|TIMEDOUT|(NET|HOST)UNREACH|40[13]|5\d\d))\b")


def npm_install(folder: Path, *packages: str) -> None:
    """Install packages into a folder; skip without npm or a registry, and fail for any other reason."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    line = ["npm", "install", "--no-save", "--no-audit", "--no-fund", *packages]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)
    if problem := UNREACHABLE.search(done.stderr) if done.returncode else None:
        pytest.skip(f"npm reaches no registry: {problem[1]}")
    assert done.returncode == 0, done.stderr[-2000:]
