"""What lies in a folder."""

from __future__ import annotations

from pathlib import Path


def tree(folder: Path) -> dict:
    """Everything below a folder: bytes of files, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
