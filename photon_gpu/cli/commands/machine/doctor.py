"""``photon-gpu doctor``: describe this machine, and say how to solve its problems."""

from __future__ import annotations

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Debug, Json


def doctor(json: Json = False, debug: Debug = False) -> console.Report:
    """Show versions, backends, devices, folders and limits, and how to solve problems.

    The exit code is 1 if photon_gpu cannot work here.

    For example:
      photon-gpu doctor
      photon-gpu doctor --json
    """
    from photon_gpu.tools.doctor import diagnose

    return diagnose()
