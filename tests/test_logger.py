"""The logger says every retry and warning in a line, hides credentials, and is silent unless asked."""

import ast
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from photon_gpu import errors
from photon_gpu.errors import PhotonWarning
from photon_gpu.live.state.retrying import Patience, again
from photon_gpu.logger import logger
from photon_gpu.reader.exporters.hdf5 import compression
from photon_gpu.store import durable


def test_warnings_and_retries_are_lines_without_credentials(caplog):
    answers = iter([OSError("https://me:hunter2secret@host/x is away"), None])

    def ask():
        if (error := next(answers)) is not None:
            raise error

    with caplog.at_level(logging.INFO, "photon_gpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again(ask, Patience(0.01), lambda error: None)
        warnings.warn(PhotonWarning("token=hunter2secret was refused"), stacklevel=1)
        logger.info("key %s", "password='hunter2secret'")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("attempt 1 failed, trying again: OSError: https://me:***@host/x")
    assert lines[1] == "PhotonWarning: token=*** was refused"
    assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize("fallback", ["links", "folder", "exchange", "hdf5plugin"])
def test_fallbacks_are_lines(fallback, caplog, tmp_path, monkeypatch):
    def refused(*args, **options):
        raise OSError("not here")

    def removed(path, *args):
        Path(path).parent.rmdir()
        monkeypatch.undo()
        raise FileNotFoundError(path)

    with caplog.at_level(logging.INFO, "photon_gpu"):
        if fallback == "links":
            monkeypatch.setattr("os.link", refused)
            durable.create_file(str(tmp_path / "file"), b"")
        elif fallback == "folder":
            monkeypatch.setattr("os.open", removed)
            durable.create_file(str(tmp_path / "folder" / "file"), b"", synced=False)
        elif fallback == "exchange":
            monkeypatch.setattr(durable, "_exchange_call", lambda: None)
            assert not durable.exchange(str(tmp_path), str(tmp_path))
        else:
            monkeypatch.setitem(sys.modules, "hdf5plugin", None)
            assert compression()["compression"] == "gzip"
    assert len(caplog.records) == 1


def test_every_warning_is_a_line():
    """PhotonWarnings log themselves, so no module may issue another kind."""
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    allowed = {name for name, value in classes.items() if issubclass(value, PhotonWarning)}
    root = Path(errors.__file__).parent
    for path in root.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("warnings.warn", "warn"):
                assert ast.unparse(call.args[1]) in allowed, f"{path.relative_to(root)}:{call.lineno}"


def test_nothing_is_printed_by_a_program_that_configures_no_logging():
    program = "from photon_gpu.logger import logger; logger.warning('away'); logger.error('away')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
