"""Names of the golden stores, from their folders."""

from __future__ import annotations

import json
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden"


LISTED = json.loads((GOLDEN / "index.json").read_text())
