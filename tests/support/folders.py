"""The whole content of a folder as a dict, to compare two moments."""

from __future__ import annotations

from pathlib import Path


def tree(folder: Path) -> dict:
    """Return everything below a folder by path: the bytes of files, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
