"""Text of docs/measured/experiments.md, from the stored results of experiments that no command repeats.

The JSON lists sections. The parts of a section are paragraphs, and tables of ``columns`` and ``rows``.
"""

from __future__ import annotations

import json
from pathlib import Path

INTRO = (
    "Measurements made once, when a piece of code was written: why the code is as it is. The code before is"
    " gone, so no command repeats them, and their figures are kept as results. [How the compression"
    " works](../compression.md) discusses them. Unless a section says otherwise: the two-photon cortex"
    " recording, 300 x 200 x 200 int16, gain 100, offset 92, step 0.5, layout `compact`."
)


def page(path: Path) -> str:
    """Return the text of docs/measured/experiments.md."""
    results = json.loads(path.read_text())
    blocks = [f"{results['machine']}, {results['date']}. {INTRO}"]
    for section in results["sections"]:
        blocks += [f"## {section['title']}", *map(_part, section["parts"])]
    return "\n\n".join(blocks)


def _part(part: str | dict) -> str:
    if isinstance(part, str):
        return part
    rows = [part["columns"], ["---"] * len(part["columns"]), *part["rows"]]
    lines = ["|".join(["", *(f" {cell} " if cell else " " for cell in row), ""]) for row in rows]
    return "\n".join([lines[0], lines[1].replace(" ", ""), *lines[2:]])
