"""``photon-gpu doctor``: what is found on this machine, and what to do about it."""

from __future__ import annotations

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Debug, Json


def doctor(json: Json = False, debug: Debug = False) -> console.Report:
    """Show versions, backends, devices, folders and limits, and what to do about them.

    Ends with 1 if photon_gpu cannot work here.

    For example:
      photon-gpu doctor
      photon-gpu doctor --json
    """
    from photon_gpu.tools.doctor import diagnose

    return diagnose()
