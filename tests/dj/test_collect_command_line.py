"""The maintenance line of docs/datajoint_gc.md, in a process that knows its environment and files alone."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from photon_gpu.dj import collect
from photon_gpu.dj.marks_in_store import MARK
from photon_gpu.errors import InvalidInputError, StoreUnavailableError
from tests.support import servers
from tests.support.dj.movies import RECORDING, check_rows, poisson
from tests.support.dj.tables import declare

PAGE = Path(__file__).parents[2] / "docs" / "datajoint_gc.md"
A = poisson(1)[:20]


@pytest.fixture
def lab(dj, database, schema, store, tmp_path):
    """A table with 14 movies, one of whose rows is deleted, and ``photon-gpu gc`` as cron runs it."""
    store()
    table = declare(schema, RECORDING)
    for i in range(14):
        table.insert1({"recording_id": i, "movie": A})
    (table & "recording_id = 0").delete()
    spec = {name: dj.config.stores["imaging"][name] for name in ("protocol", "location")}
    (tmp_path / "stores.json").write_text(json.dumps({"imaging": spec}))

    def run(line, stores=spec):
        environment = {**database, "DJ_STORES": json.dumps({"imaging": stores} if stores else {})}
        environment.pop("DJ_LOG_LEVEL")
        del environment["DJ_IGNORE_CONFIG_FILE"]
        words = shlex.split(line.replace("calcium_imaging", schema.database))
        return subprocess.run(
            [sys.executable, "-m", "photon_gpu", *words[1:]],
            env={**servers.environment(environment), "DJ_LOG_LEVEL": "INFO"},
            capture_output=True,
            text=True,
            timeout=100,
            cwd=tmp_path,
        )

    return table, run


def documented():
    (line,) = re.findall(r"^0 3 \* \* 0\s+(.*)$", PAGE.read_text(), re.MULTILINE)
    return re.sub(r"\S+stores\.json", "stores.json", line)


@pytest.mark.parametrize("stores", [None, {}], ids=["pasted into datajoint.json", "nowhere else"])
def test_the_documented_line_finds_every_movie(lab, dj, stores):
    table, run = lab
    pasted = {name: dj.config.stores["imaging"][name] for name in ("protocol", "location")}
    done = run(documented() + " --grace-hours 0", pasted if stores is None else stores)
    assert done.returncode == 0, done.stderr
    assert "13 in use, 1 deleted" in done.stdout
    check_rows(table, dict.fromkeys(range(1, 14), A))


def test_without_the_stores_file_it_says_what_to_set(lab):
    """The store is in datajoint.json as DataJoint's manual writes it, so its prefix is _schema."""
    table, run = lab
    ran = run("photon-gpu gc calcium_imaging --delete --grace-hours 0")
    assert ran.returncode != 0
    for part in ("13 rows", "store 'imaging'", "_schema", "schema_prefix ''", "--stores-file"):
        assert part in ran.stderr
    check_rows(table, dict.fromkeys(range(1, 14), A))


def test_json_is_all_there_is_on_stdout(lab):
    _, run = lab
    ran = run("photon-gpu gc calcium_imaging --stores-file stores.json --json")
    assert json.loads(ran.stdout)["referenced"] == 13


def test_a_refusal_says_which_option_solves_it(lab, dj):
    table, run = lab
    location = Path(dj.config.stores["imaging"]["location"])
    for mark in [path for path in location.iterdir() if path.name.startswith(MARK)]:
        mark.unlink()
    line = "photon-gpu gc calcium_imaging --stores-file stores.json --grace-hours 0"
    dry = run(line)
    assert dry.returncode == 1
    assert "1 to delete" in dry.stdout
    assert "--only-this-database" in dry.stdout
    refused = run(line + " --delete")
    assert refused.returncode == 1
    assert "--only-this-database" in refused.stderr
    assert "13 in use, 1 deleted" in run(line + " --delete --only-this-database").stdout
    assert run(line + " --delete").returncode == 0


def test_a_database_that_cannot_be_reached_is_reported(monkeypatch):
    import datajoint

    def refused():
        raise OSError("connection refused")

    monkeypatch.setattr(datajoint, "conn", refused)
    with pytest.raises(StoreUnavailableError, match="connection refused; datajoint.json or DJ_HOST"):
        collect("calcium_imaging")
    with pytest.raises(InvalidInputError, match="grace_hours"):
        collect("calcium_imaging", grace_hours=float("inf"))
