"""Read ThorImage's Experiment.xml, which describes the raw file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.raw.flat import note_on_volumes

EXPERIMENT = "Experiment.xml"
_CHANNELS = 4


@dataclass(frozen=True, kw_only=True)
class ThorExperiment:
    """Layout of the frames of a ThorImage recording.

    Attributes
    ----------
    height, width : int
    channels : tuple of str
        Names of the channels, which alternate from frame to frame.
    planes : int
        Frames of a volume, flyback frames included; 1 without volumes.
    flyback : int
        How many of the planes, the last ones, are flyback frames.
    promised : int
        Frames per channel that were requested; 0 if unknown. A recording may stop earlier.
    pixel_size : float or None
        Micrometers.
    plane_step : float or None
        Micrometers.
    frame_rate : float or None
        Frames per second and channel.
    document : Document
    """

    height: int
    width: int
    channels: tuple[str, ...]
    planes: int
    flyback: int
    promised: int
    pixel_size: float | None
    plane_step: float | None
    frame_rate: float | None
    document: Document

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame of all channels."""
        return (len(self.channels), self.height, self.width)[len(self.channels) == 1 :]

    def recording(self) -> Recording:
        """Metadata in the file."""
        sizes = dict.fromkeys("yx", (self.pixel_size, "um")) if self.pixel_size else {}
        if self.planes > 1 and self.plane_step:
            sizes["z"] = (self.plane_step, "um")
        return Recording(
            axes="tyx" if len(self.channels) == 1 else "tcyx",
            channel_names=self.channels,
            pixel_size=sizes,
            frame_rate=self.frame_rate,
            documents=(self.document,),
        )

    def note(self, frames: int) -> str | None:
        """Remark on planes, and on requested frames that the raw file lacks."""
        notes = []
        if unfinished := note_on_volumes(frames, self.planes):
            notes.append(unfinished)
        if self.flyback:
            notes.append(f"the last {self.flyback} of {self.planes} planes are flyback frames")
        if self.promised and frames < self.promised:
            notes.append(f"{self.promised} frames were requested, and the raw file holds {frames}")
        return "; ".join(notes) or None

    def check_frames(self, frames: int, name: str) -> None:
        """Refuse a file with more frames than were requested: it may hold more channels."""
        if self.promised and frames > self.promised:
            raise InvalidInputError(
                f"{name}: it holds {frames} frames of {len(self.channels)} channel(s); {EXPERIMENT} requests "
                f"{self.promised}. If there are more channels, give shape=(channels, {self.height}, "
                f"{self.width}) and dtype='uint16'"
            )


def read_experiment(path: Path) -> ThorExperiment:
    """Read ``Experiment.xml``.

    Raises
    ------
    CorruptDataError
        The file is not XML.
    InvalidInputError
        The file does not describe frames of a laser-scanning microscope.
    """
    data = path.read_bytes()
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise CorruptDataError(f"{path}: it is not XML: {error}") from error
    lsm = root.find("LSM")
    try:
        assert lsm is not None
        height, width = int(lsm.attrib["pixelY"]), int(lsm.attrib["pixelX"])
        mask = int(lsm.get("channel", "1"))
        streaming, zstage, timelapse = (
            _attributes(root, tag) for tag in ("Streaming", "ZStage", "Timelapse")
        )
        streams = streaming.get("enable") == "1"
        fast_z = streams and streaming.get("zFastEnable") == "1"
        steps = int(zstage.get("steps", "1"))
        flyback = int(streaming.get("flybackFrames", "0")) if fast_z and steps > 1 else 0
        stack = not streams and zstage.get("enable") == "1"
        planes = steps + flyback if fast_z or stack else 1
        if streams:
            promised = int(streaming.get("frames", "0"))
        else:
            promised = int(timelapse.get("timepoints", "0")) * steps
        averages = int(lsm.get("averageNum", "1")) if lsm.get("averageMode", "0") != "0" else 1
        # How the rate counts averages is unknown.
        rate = _positive(lsm.get("frameRate")) if averages == 1 else None
        return ThorExperiment(
            height=height,
            width=width,
            channels=_channel_names(root, mask),
            planes=planes,
            flyback=flyback,
            promised=promised,
            pixel_size=_positive(lsm.get("pixelSizeUM")),
            plane_step=_positive(zstage.get("stepSizeUM")),
            frame_rate=rate,
            document=Document(name=EXPERIMENT, media_type="text/xml", data=data),
        )
    except (AssertionError, KeyError, ValueError) as error:
        raise InvalidInputError(
            f"{path}: it lacks the size of frames (LSM pixelX, pixelY): {error!r}. Give shape= and dtype="
        ) from error


def _attributes(root: ElementTree.Element, tag: str) -> dict[str, str]:
    node = root.find(tag)
    return {} if node is None else dict(node.attrib)


def _channel_names(root: ElementTree.Element, mask: int) -> tuple[str, ...]:
    enabled = [number for number in range(_CHANNELS) if mask >> number & 1] or [0]
    names = [str(node.get("name", "")) for node in root.iterfind("Wavelengths/Wavelength")]
    if len(names) == len(enabled):
        return tuple(names)
    return tuple(names[number] if number < len(names) else f"Chan{'ABCD'[number]}" for number in enabled)


def _positive(text: str | None) -> float | None:
    value = float(text) if text else 0.0
    return value if value > 0 else None
