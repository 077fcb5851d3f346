"""MkDocs hooks: put FORMAT.md and other pages of the repository's top folder on the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = ("FORMAT.md", "CONTRIBUTING.md", "CHANGELOG.md")

_OUTSIDE = re.compile(rf"\]\((?:\.\./)+({'|'.join(map(re.escape, PAGES))})")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for name in PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links between docs/ and the top of the repository to the one folder of the site."""
    if page.file.src_uri in PAGES:
        return markdown.replace("](docs/", "](")
    up = "../" * page.file.src_uri.count("/")
    return _OUTSIDE.sub(rf"]({up}\1", markdown)
