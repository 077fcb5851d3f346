"""The command ``photon-gpu``, one module per command, each loaded when it runs.

To add a command: a module here with a function of the command's name that returns a report
(an object with ``to_dict`` and ``rows`` or ``table``), and a line in :data:`photon_gpu.cli.app.COMMANDS`.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; it ends by raising ``SystemExit``."""
    from photon_gpu.cli.app import run

    run()
