"""gcp-storage-emulator, with two corrections that make it behave like Google's own server.

It reads an upload with a parser for e-mail, which drops line ends from binary
data, and it ignores ``ifGenerationMatch=0``, which is how an object is created
only if there is none. Run as ``python gcs_emulator.py PORT``.
"""

from __future__ import annotations

import http
import json
import re
import sys
import threading

from gcp_storage_emulator import server
from gcp_storage_emulator.__main__ import get_server
from gcp_storage_emulator.handlers import objects

_read_data = server._read_data
_upload = objects._multipart_upload


def read_data(handler, query):
    content_type = handler.headers.get("Content-Type") or ""
    boundary = re.fullmatch(r'multipart/related; boundary="?([^"]+)"?', content_type)
    if boundary is None:
        return _read_data(handler, query)
    raw = server._read_raw_data(handler)
    mark = b"--" + boundary[1].encode()
    first, second = raw.split(mark, 2)[1:]
    content = second.removeprefix(b"\n").split(b"\n\n", 1)
    return {
        "meta": json.loads(first.split(b"\n\n", 1)[1]),
        "content": content[1][: content[1].rindex(b"\n" + mark + b"--")],
        "content-type": content[0].decode().split(":", 1)[1].strip(),
    }


def upload(request, response, storage):
    name = request.data["meta"]["name"]
    if request.query.get("ifGenerationMatch") == ["0"] and exists(
        storage, request.params["bucket_name"], name
    ):
        response.status = http.HTTPStatus.PRECONDITION_FAILED
        response.json({"error": {"code": 412, "message": "conditionNotMet"}})
        return
    _upload(request, response, storage)


def exists(storage, bucket, name):
    try:
        storage.get_file_obj(bucket, name)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    server._read_data = read_data
    objects._multipart_upload = upload
    get_server("127.0.0.1", int(sys.argv[1]), memory=True, default_bucket="imaging").start()
    threading.Event().wait()
