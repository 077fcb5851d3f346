"""A shell for the tests: the real entry point in this process, and real files."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from typer.testing import CliRunner

from photon_gpu.cli.app import app


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Runs the command in ``tmp_path``; an exception that gets out fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(*words, width=100):
        result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": str(width)})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(20, (30, 16, 12)).astype("uint16")


@pytest.fixture
def stored(cli, counts, tmp_path):
    """``ok.npy`` and ``ok.zarr``, made from it: compact, three chunks."""
    np.save(tmp_path / "ok.npy", counts)
    ran = cli("encode", "ok.npy", "ok.zarr", "--layout", "compact", "--gain", "1", "--chunk-frames", "10")
    assert ran.code == 0, ran.err
    return tmp_path / "ok.zarr"
