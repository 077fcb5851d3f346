"""Run programs that insert into a table, each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

from tests.support import servers
from tests.support.dj.movies import RECORDING


def run(database, spec, code, **more):
    """Start a program as a process; it reads the addresses of database and store from its environment."""
    head = """
        import warnings; warnings.simplefilter("ignore")
        import os, signal, sys, time
        import datajoint as dj, numpy as np, photon_gpu as pg, photon_gpu.dj
        dj.config["safemode"] = False
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    environment = {**database, "DJ_STORES": json.dumps({"imaging": spec}), **more}
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env=servers.environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def table_code(schema):
    return f"""
        schema = dj.Schema({schema.database!r})
        class Recording(dj.Manual):
            definition = {RECORDING!r}
        schema(Recording, context={{}})
        A = np.random.default_rng(1).poisson(20, (250, 8, 12)).astype("uint16")
    """
