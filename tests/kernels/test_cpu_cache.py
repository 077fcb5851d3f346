"""Compiled kernels are cached, never stale, and work where no folder can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from photon_gpu.kernels import cpu

HELPER = """
from photon_gpu.kernels.cpu_cache import jit

@jit
def helper(value):
    return value + 1
"""
KERNEL = """
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.helpers import helper

@jit
def kernel(value):
    return helper(value)
"""
RUN = """
from photon_gpu.kernels.cpu_cache import cache_folder
from photon_gpu.kernels.kernel import kernel
print(kernel(1), sum(kernel.stats.cache_hits.values()), cache_folder())
"""


@pytest.fixture
def tree(tmp_path):
    """A package ``photon_gpu.kernels`` of two small kernels, one of which inlines the other."""
    folder = tmp_path / "photon_gpu" / "kernels"
    folder.mkdir(parents=True)
    shutil.copy(Path(cpu.__file__).parent / "cpu_cache.py", folder)
    for name, text in (("../__init__", ""), ("__init__", ""), ("helpers", HELPER), ("kernel", KERNEL)):
        (folder / f"{name}.py").write_text(text)
    return folder


def run(tree: Path, **environment: str) -> list[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", RUN],
        cwd=tree.parents[1],
        env={**clean, "PYTHONPATH": str(tree.parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_a_change_in_an_inlined_helper_is_seen(tree):
    """The kernel's own file keeps its bytes and its time, which is all that Numba itself looks at."""
    assert run(tree)[:2] == ["2", "0"]
    assert run(tree)[:2] == ["2", "1"], "the second run loads the compiled kernel"
    helpers, before = tree / "helpers.py", (tree / "helpers.py").stat()
    helpers.write_text(HELPER.replace("+ 1", "+ 8"))
    os.utime(helpers, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(tree)[:2] == ["9", "0"]


def test_the_folder_that_the_user_names_is_used(tree, tmp_path):
    assert Path(run(tree, NUMBA_CACHE_DIR=str(tmp_path / "named"))[2]).parent == tmp_path / "named"


def test_the_users_caches_take_over_where_the_sources_are_read_only(tree, tmp_path):
    (tree / "__pycache__").write_text("a file where the folder would be: not even root can write there")
    result = run(tree, XDG_CACHE_HOME=str(tmp_path / "home"))
    assert (
        Path(result[2]).parent == tmp_path / "home"
        and run(tree, XDG_CACHE_HOME=str(tmp_path / "home"))[1] == "1"
    )


def test_kernels_work_where_no_folder_can_be_written(tree, tmp_path):
    blocked = tree / "__pycache__"
    blocked.write_text("")
    (tmp_path / "temporary").mkdir()
    nowhere = {"XDG_CACHE_HOME": str(blocked / "no"), "TMPDIR": str(tmp_path / "temporary")}
    value, hits, folder = run(tree, **nowhere)
    assert (value, hits) == ("2", "0") and Path(folder).is_relative_to(tmp_path / "temporary")
    assert not any((tmp_path / "temporary").iterdir()), "the temporary folder goes with the process"
