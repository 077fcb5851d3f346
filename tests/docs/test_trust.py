"""docs/trust.md and docs/limits.md say what the code does: every line, limit and finding."""

import re
from pathlib import Path

import pytest

from photon_gpu.check.fidelity.property_verdicts import LIMITS
from photon_gpu.check.integrity.result import Problem
from photon_gpu.estimate import checks

ROOT = Path(__file__).parents[2]
TEXT = "".join((ROOT / "docs" / name).read_text() for name in ("trust.md", "limits.md"))


@pytest.mark.parametrize("name", LIMITS)
def test_every_line_of_the_report_is_there_with_its_limits_and_reason(name):
    limit = LIMITS[name]
    assert f"| `{name}` | {limit.title} | {limit.text()} | {limit.reason} |" in TEXT.splitlines()


def test_every_finding_of_the_estimate_is_there():
    code = Path(checks.__file__).read_text() + Path(checks.__file__).with_name("estimate.py").read_text()
    names = set(re.findall(r'_finding\(\s*"([a-z ]+)"', code)) - {"range"}
    names |= {checks.PLANES, checks.ALTERNATION}
    assert len(names) > 14
    for name in names:
        assert f"`{name}`" in TEXT, name
    for axis in "yxt":
        assert f"`{axis}`" in TEXT.replace("`correlation y`", "`y`")


def test_every_kind_of_damage_is_there():
    problems = re.findall(r"``(\w+)``:", str(Problem.__doc__))
    assert len(problems) == 9
    for problem in problems:
        assert f"`{problem}`" in TEXT, problem
