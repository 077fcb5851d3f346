"""Sources that workers open themselves, so that no frames are sent to them."""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from photon_gpu.sources.base import Source
from photon_gpu.sources.multifile.find import is_list_of_paths
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import SourceRequest

_MOST_OPEN = 16
_LARGEST_PICKLE = 1 << 20

_open: OrderedDict[str, Source] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Frames:
    """Source that every worker process opens once.

    Parameters
    ----------
    origin : str, path, SourceRequest or bytes
        Argument of :func:`photon_gpu.open_source`, or a pickled source.
    """

    origin: Any
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def opened(self) -> Source:
        """Return the open source of this process."""
        with _lock:
            if self.key not in _open:
                made = (
                    pickle.loads(self.origin) if isinstance(self.origin, bytes) else open_source(self.origin)
                )
                _open[self.key] = made
                while len(_open) > _MOST_OPEN:
                    _open.popitem(last=False)  # Closed once its last reader releases it.
            _open.move_to_end(self.key)
            return _open[self.key]


def travelling(source: Any) -> Frames | None:
    """Return the object to send to workers instead of a source; None if its frames must be sent.

    Paths, URLs, and small descriptions from which a source can be rebuilt (the simulator) are sent.

    Examples
    --------
    >>> import photon_gpu as pg
    >>> travelling(pg.simulate(frames=5, height=8, width=8)).opened().shape
    (5, 8, 8)
    """
    located = source.source if isinstance(source, SourceRequest) else source
    if isinstance(located, str | os.PathLike) or is_list_of_paths(located):
        return Frames(source)
    if not isinstance(source, Source) or type(source).__reduce__ is object.__reduce__:
        return None  # Pickling it would pickle its frames.
    sent = pickle.dumps(source)
    return Frames(sent) if len(sent) <= _LARGEST_PICKLE else None
