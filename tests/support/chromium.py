"""Headless Chromium, driven by its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest


class Chromium:
    """One page of a browser without a window.

    Attributes
    ----------
    requests : list of dict
        Requests that the page and its workers sent: ``method``, ``url`` and ``headers``.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("Chromium is not installed; apt-get install chromium")
        reads, self._commands = os.pipe()
        self._answers, writes = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # the browser takes commands from 3 and answers to 4
                ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", program, *flags, "about:blank"],
                pass_fds=(reads, writes),
                stdout=log,
                stderr=log,
            )
        os.close(reads)
        os.close(writes)
        self._log, self._left, self._numbers = folder / "log", b"", itertools.count(1)
        self._session: str | None = None
        self.requests: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Run a command of the protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"])
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))
            data = os.read(self._answers, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError(f"Chromium does not answer:\n{self._log.read_text()[-2000:]}")
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Go to a page, and return once its document is there."""
        self.call("Page.navigate", url=url)
        while self.run("document.readyState") != "complete" or self.run("location.href") != url:
            time.sleep(0.02)

    def screenshot(self, path: Path) -> None:
        """Write what the page looks like as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
