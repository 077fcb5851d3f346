"""Read the whole content of a folder, to compare it before and after."""

from __future__ import annotations

from pathlib import Path


def tree(folder: Path) -> dict:
    """Return everything below a folder by path: the bytes of files, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
