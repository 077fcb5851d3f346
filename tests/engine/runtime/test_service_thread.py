"""A service thread has a name, ends with its work, and does not keep the process alive."""

from __future__ import annotations

import subprocess
import sys
import threading

from photon_gpu.engine.runtime.service_thread import ServiceThread


def test_it_works_under_its_name_until_the_work_returns():
    free, names = threading.Event(), []
    thread = ServiceThread(
        "photon-example", lambda: (names.append(threading.current_thread().name), free.wait())
    )
    assert not thread.wait(0.01)
    free.set()
    assert thread.wait() and thread.wait(0)
    assert names == ["photon-example"]


def test_work_that_hangs_does_not_keep_the_process_alive():
    program = (
        "import threading\n"
        "from photon_gpu.engine.runtime.service_thread import ServiceThread\n"
        "ServiceThread('photon-example', threading.Event().wait)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
