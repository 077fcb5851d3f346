"""How codes lie in Zarr: plain, compact, lossless. One file each."""

from __future__ import annotations

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.base import Layout


def layout_for(encoding: Encoding, backend: Backend) -> Layout:
    """The layout that writes and reads chunks of this encoding."""
    from photon_gpu.engine.layouts.compact import Compact
    from photon_gpu.engine.layouts.lossless import Lossless
    from photon_gpu.engine.layouts.plain import Plain

    kinds: dict[str, type[Layout]] = {"plain": Plain, "compact": Compact, "lossless": Lossless}
    return kinds[encoding.layout](encoding, backend)
