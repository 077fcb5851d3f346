"""What the pages of docs/ on DataJoint say to type works as typed, block after block."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import h5py
import numpy as np
import tifffile

from tests.support.dj.movies import poisson

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / name for name in ("datajoint.md", "datajoint_gc.md", "datajoint_stores.md")]
TEXT = "\n".join(page.read_text() for page in PAGES)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_code_of_the_pages_runs(dj, tmp_path, monkeypatch):
    scheduled = types.ModuleType("schedule")
    jobs = []
    scheduled.every = lambda: types.SimpleNamespace(week=types.SimpleNamespace(do=jobs.append))
    monkeypatch.setitem(sys.modules, "schedule", scheduled)
    monkeypatch.chdir(tmp_path)
    data = (2.5 * poisson(1, 120, 16, 16, 200) + 100).astype("uint16")
    tifffile.imwrite("raw.tif", data)
    with h5py.File("raw.h5", "w") as file:
        file["data/movie"] = data
    (tmp_path / "storage").mkdir()
    names = {
        "__name__": "page",
        "movie_data": poisson(2, 120, 16, 16),
        "camera": [np.full((512, 512), 110, "uint16")] * 3,
    }
    created = {"calcium_imaging", "behavior", "analysis"}
    try:
        for name in created:
            dj.Schema(name)
        for code in blocks("python"):
            exec(compile(code.replace("/data/dj-storage", str(tmp_path / "storage")), "pages", "exec"), names)
            # The page's buckets are nobody's, so only the local store may be collected.
            remote = [name for name, spec in dj.config.stores.items() if "bucket" in spec]
            for name in remote:
                del dj.config.stores[name]
        (job,) = jobs
        job()
        assert len(names["Recording"]()) == 4
        assert names["live"].frames == 3
    finally:
        for name in created:
            dj.Schema(name).drop(prompt=False)
        dj.config.stores.clear()


def test_the_json_is_what_is_written():
    array, attributes = map(json.loads, blocks("json"))
    assert next(iter(array)) == "chunks"
    assert list(attributes.items())[:2] == [("codec_version", "1.0"), ("codec_name", "photon")]
