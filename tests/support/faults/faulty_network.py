"""A TCP proxy before a real S3 server: it fails as networks do, by mode or by chance and seed."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time

KEY, SECRET = "AKIAPHOTONGPUTEST00", "sEcReT/of+photon0gpu1tests2abcdefghijkl"


def options(endpoint):
    """Return options for s3fs with few retries and short waits, so that faults reach photon_gpu."""
    return {
        "key": KEY,
        "secret": SECRET,
        "endpoint_url": f"http://{endpoint}",
        "skip_instance_cache": True,
        "use_listings_cache": False,
        "config_kwargs": {"connect_timeout": 2, "read_timeout": 3, "retries": {"max_attempts": 1}},
    }


class Proxy:
    """A proxy between client and server that passes everything on, or fails.

    Attributes
    ----------
    mode : str
        ``pass``; ``refuse`` connections; ``reset`` them; ``503``; ``silent``: takes the request and
        never answers; ``lost``: passes the request on and resets instead of answering; ``cut``: half
        of the request is passed on; ``slow``.
    """

    def __init__(self, endpoint, seed=0):
        host, _, port = endpoint.partition(":")
        self.target, self.mode = (host, int(port)), "pass"
        self.chance, self.rate = random.Random(seed), 0.0
        self.modes = ("reset", "503", "lost", "cut", "slow")
        self.injected = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._open = False
        self._server.close()

    def _accept(self):
        while self._open:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _next(self):
        if self.mode != "pass":
            mode = self.mode
        else:
            mode = self.chance.choice(self.modes) if self.chance.random() < self.rate else "pass"
        self.injected += mode != "pass"
        return mode

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            while self._open:
                request = _message(client)
                if not request:
                    return
                mode = self._next()
                if mode in ("refuse", "reset"):
                    _reset(client)
                    return
                if mode == "silent":
                    time.sleep(30)
                    return
                if mode == "503":
                    client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
                    continue
                if mode == "slow":
                    time.sleep(0.2)
                with socket.create_connection(self.target, timeout=30) as server:
                    if mode == "cut":
                        server.sendall(request[: len(request) // 2])
                        _reset(client)
                        return
                    server.sendall(request)
                    answer = _message(server, request.startswith(b"HEAD"))
                if mode == "lost":
                    _reset(client)
                    return
                client.sendall(answer)


def _message(connection, no_body=False):
    """Read one whole HTTP message."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"expect: 100-continue" in lower:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
    if no_body or lower.startswith((b"http/1.1 204", b"http/1.1 304")):
        return head + b"\r\n\r\n"
    if b"transfer-encoding: chunked" in lower:
        while not _ended(body):
            more = connection.recv(65536)
            if not more:
                break
            body += more
        return head + b"\r\n\r\n" + body
    length = next(
        (int(line.split(b":")[1]) for line in lower.split(b"\r\n") if line.startswith(b"content-length")), 0
    )
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


def _ended(body):
    """Whether a chunked body is complete: its last chunk has size 0, and trailers may follow."""
    return body.endswith(b"\r\n\r\n") and (body.startswith(b"0\r\n") or b"\r\n0\r\n" in body[-500:])


def _reset(connection):
    """Close with RST rather than FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
