"""Movies in DataJoint tables (``<photon@store>``), on local disks, S3 and Google Cloud Storage.

Importing this package imports DataJoint. The column types need no import:
DataJoint finds them through their entry points.
"""

from __future__ import annotations

try:
    import datajoint  # noqa: F401 - whether it is installed
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise ImportError("photon_gpu.dj needs DataJoint 2.3: pip install 'photon-gpu[datajoint]'") from error

# These functions have the names of their modules; this import makes `photon_gpu.dj.record` the function.
from photon_gpu.dj.collect import collect
from photon_gpu.dj.record import record
from photon_gpu.dj.recover import recover
from photon_gpu.dj.stores import stores

__all__ = ["collect", "record", "recover", "stores"]
