"""Some of the planted bugs, in the ordinary run; ``python -m tests.support.cuda.mutants`` has them all."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.cuda.mutants import MUTANTS, ROOT


def test_every_mutant_applies_at_one_place() -> None:
    assert len(MUTANTS) >= 30 and len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        assert (ROOT / mutant.file).read_text().count(mutant.old) == 1, mutant.name
        assert mutant.old != mutant.new
        assert all((ROOT / test.partition("::")[0]).exists() for test in mutant.tests)
        text = "".join((ROOT / test.partition("::")[0]).read_text() for test in mutant.tests)
        for word in re.findall(r"\w*_\w+", mutant.quick):  # a renamed test would leave the bug unplanted
            assert re.search(rf"def \w*{word}", text), f"{mutant.name}: no test is named for {word}"


def test_some_mutants_of_every_kind_die() -> None:
    command = [sys.executable, "-m", "tests.support.cuda.mutants", "--quick"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    chosen = [mutant for mutant in MUTANTS if mutant.quick]
    assert len({mutant.file for mutant in chosen}) >= 3
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert f"{'control':<48} survives" in run.stdout
    for mutant in chosen:
        assert f"{mutant.name:<48} killed by test_" in run.stdout
