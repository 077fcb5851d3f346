"""The logger says every retry and warning in a line, hides credentials, and is silent unless asked."""

import logging
import subprocess
import sys
import warnings

from photon_gpu.errors import PhotonWarning
from photon_gpu.live.state.retrying import Patience, again
from photon_gpu.logger import logger


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


def test_nothing_is_printed_by_a_program_that_configures_no_logging():
    program = "from photon_gpu.logger import logger; logger.warning('away'); logger.error('away')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
