"""Registry of layouts: map an encoding to the layout object that writes and reads its chunks."""

from __future__ import annotations

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.base import Layout


def layout_for(encoding: Encoding, backend: Backend) -> Layout:
    """Return the layout that writes and reads chunks of an encoding."""
    from photon_gpu.engine.layouts.compact import Compact
    from photon_gpu.engine.layouts.lossless import Lossless
    from photon_gpu.engine.layouts.plain import Plain

    if encoding.channels:
        from photon_gpu.engine.layouts.channel_noise_models import (
            CompactChannels,
            LosslessChannels,
            PlainChannels,
        )

        several: dict[str, type[Layout]] = {
            "plain": PlainChannels,
            "compact": CompactChannels,
            "lossless": LosslessChannels,
        }
        return several[encoding.layout](encoding, backend)
    classes: dict[str, type[Layout]] = {"plain": Plain, "compact": Compact, "lossless": Lossless}
    return classes[encoding.layout](encoding, backend)
