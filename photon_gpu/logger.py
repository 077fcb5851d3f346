"""The logger ``photon_gpu``, which gets a line for every retry, fallback and warning, without credentials.

It prints nothing unless the program configures logging, for instance by ``logging.basicConfig()``.
"""

from __future__ import annotations

import logging

from photon_gpu.redact_credentials import without_credentials

logger = logging.getLogger("photon_gpu")
logger.addHandler(logging.NullHandler())


def _mask(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_credentials(record.getMessage()), ()
    return True


logger.addFilter(_mask)
