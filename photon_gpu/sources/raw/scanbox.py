"""Source of a movie in a Scanbox .sbx file, described by the .mat file beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.base import Source
from photon_gpu.sources.extras.libraries import load
from photon_gpu.sources.raw.flat import RawSource, note_on_volumes
from photon_gpu.sources.truncated_file import ERROR

_LARGEST = 65535
_SAMPLED_FRAMES = 64
_CLEAR = 0.2  # correlation of mean and variance above which light tells whether values are inverted


class ScanboxSource(Source):
    """A movie in a Scanbox file, whose channels alternate from pixel to pixel; each becomes an image.

    Scanbox stores 65535 minus the value. The source gives values that rise with light.

    Parameters
    ----------
    path : path-like
        The ``.sbx`` file; ``.mat`` of the same name lies beside it.
    inverted : bool, optional
        Whether values are stored inverted. Default: measured. More light has more noise, so the variance
        of pixels tells the direction.
    truncated : {"error", "keep"}
        What to do if the file does not end with a frame.

    Raises
    ------
    InvalidInputError
        The ``.mat`` file is missing or lacks the fields of Scanbox, or the movie does not show whether
        its values are inverted.
    CorruptDataError
        The file does not end with a frame.
    """

    def __init__(self, path: Any, *, inverted: bool | None = None, truncated: str = ERROR) -> None:
        self.name = str(path)
        info_path = Path(path).with_suffix(".mat")
        info = _read_info(info_path, self.name)
        shape, rate = _layout(info, info_path)
        remedy = f"check the size of frames in {info_path.name}"
        self._frames: RawSource | None = RawSource(path, shape, "<u2", truncated=truncated, remedy=remedy)
        self.truncation = self._frames.truncation
        total, height, width, channels = self._frames.shape
        self.dtype = self._frames.dtype
        self.shape = (total, height, width) if channels == 1 else (total, channels, height, width)
        if inverted is None:
            inverted = self._is_inverted()
        elif not isinstance(inverted, bool):
            raise InvalidInputError(f"inverted is {inverted!r}; True or False is needed")
        self._inverted = inverted
        self.stated_planes = _planes(info)
        self.recording = Recording(
            axes="tyx" if channels == 1 else "tcyx",
            channel_names=("green", "red")[:channels] if channels == 2 else (),
            frame_rate=rate,
            documents=(Document(name=info_path.name, media_type="application/json", data=_as_json(info)),),
        )

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``, with an axis of channels, in values that rise with light."""
        self._check_frames(start, stop)
        if self._frames is None:
            raise InvalidInputError(f"{self.name}: the source is closed; open it again")
        frames = self._frames.read(start, stop).transpose(0, 3, 1, 2).reshape(stop - start, *self.shape[1:])
        if self._inverted:
            return np.subtract(_LARGEST, frames, dtype=self.dtype)
        return np.ascontiguousarray(frames)

    def note(self, chunk_frames: int) -> str | None:
        """Remark on inverted values, and on a volume that was not finished."""
        notes = ["Scanbox stored 65535 minus the values; this is undone"] if self._inverted else []
        if unfinished := note_on_volumes(self.shape[0], self.stated_planes):
            notes.append(unfinished)
        return "; ".join(notes) or None

    def close(self) -> None:
        """Release the file."""
        self._frames = None

    def _is_inverted(self) -> bool:
        assert self._frames is not None
        values = self._frames.read(0, min(_SAMPLED_FRAMES, self.shape[0])).astype(np.float64)
        high = bool(np.median(values) > _LARGEST / 2)
        slope = _light_slope(values)
        if abs(slope) > _CLEAR and (slope < 0) != high:
            raise InvalidInputError(
                f"{self.name}: whether its values are inverted is not clear: their median is "
                f"{np.median(values):.0f}, and high ones have {'less' if slope < 0 else 'more'} noise. Give "
                "inverted=True (Scanbox's own files) or inverted=False"
            )
        return high


def _light_slope(values: NDArray[np.float64]) -> float:
    """Correlation over pixels between mean and variance over frames; 0 if it is undefined."""
    if len(values) < 2:
        return 0.0
    mean = values.mean(axis=0).reshape(-1)
    variance = np.diff(values, axis=0).var(axis=0).reshape(-1)
    if not (mean.std() > 0 and variance.std() > 0):
        return 0.0
    return float(np.corrcoef(mean, variance)[0, 1])


def _read_info(path: Path, name: str) -> dict[str, Any]:
    if not path.exists():
        raise InvalidInputError(
            f"{name}: there is no {path.name} beside it, which tells the size of its frames; copy it there"
        )
    scipy_io = load("scipy.io", "scanbox", name)
    try:
        return dict(scipy_io.loadmat(path, simplify_cells=True)["info"])
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"{path}: it has no variable 'info' as Scanbox writes it") from error
    except Exception as error:  # scipy's errors share no base class
        raise CorruptDataError(f"{path}: it cannot be read: {type(error).__name__}: {error}") from error


def _layout(info: dict[str, Any], path: Path) -> tuple[tuple[int, int, int], float | None]:
    """Shape of a stored frame ``(height, width, channels)``, and frames per second."""
    try:
        width = int(np.ravel(info["sz"])[1])
        height = int(info["recordsPerBuffer"])
        unidirectional = int(info.get("scanmode", 1))
        if not unidirectional:
            height *= 2
        chan = info.get("chan")
        channels = int(chan["nchan"]) if isinstance(chan, dict) else {1: 2, 2: 1, 3: 1}[int(info["channels"])]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidInputError(
            f"{path}: info lacks sz, recordsPerBuffer or channels as Scanbox writes them ({error!r})"
        ) from error
    lines = float(info.get("resfreq", 0) or 0) * (1 if unidirectional else 2)
    return (height, width, channels), (lines / height if lines > 0 else None)


def _planes(info: dict[str, Any]) -> int:
    """Planes of a volume: the steps of the tunable lens, if it was on; 1 without volumes."""
    waves = np.ravel(info.get("otwave", ()))
    parameters = np.ravel(info.get("otparam", ()))
    if not np.any(info.get("volscan", len(waves) > 1)):
        return 1
    if len(waves) > 1:
        return len(waves)
    return max(int(parameters[2]), 1) if len(parameters) > 2 and np.isfinite(parameters[2]) else 1


def _as_json(info: dict[str, Any]) -> bytes:
    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return plain(value.tolist())
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value if isinstance(value, str | int | float | bool | None) else str(value)

    return json.dumps(plain(info)).encode()
