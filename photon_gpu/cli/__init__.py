"""The command ``photon-gpu``, one module per command, each loaded when it runs.

To add a command: a module here with a function of the command's name that returns a report
(an object with ``to_dict`` and ``rows`` or ``table``), and a line in :data:`photon_gpu.cli.app.COMMANDS`.
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line; it ends by raising ``SystemExit``."""
    try:
        from photon_gpu.cli.app import run

        run()
    except KeyboardInterrupt as error:  # while modules load, or while a result is printed
        sys.stderr.write("error: stopped before it was done; run it again\n")
        sys.exit(128 + (error.args[0] if error.args else int(signal.SIGINT)))
    finally:  # an interrupt of the exit itself prints nothing
        signal.signal(signal.SIGINT, signal.SIG_DFL)
