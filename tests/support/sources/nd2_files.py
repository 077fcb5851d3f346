"""Write small ND2 files of version 3, because the package nd2 writes none."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_MAGIC = 0x0ABECEDA
_LOOPS = {
    "t": (1, {"dStart": 0.0, "dPeriod": 33.0, "dDuration": 0.0}),
    "p": (2, {"bRelativeXY": False}),
    "z": (4, {"dZLow": 0.0, "dZHigh": 0.0, "dZStep": 2.0, "bAbsolute": False}),
}
_SPECTRUM = {"uiCount": 1, "pPoint": {"Point0": {"eType": 1, "dTValue": 1.0, "dWavelength": 500.0}}}


def write_nd2(path, movie, axes="tcyx"):
    """Write ``movie``; ``axes`` are loops from the outermost to the innermost, then ``cyx``."""
    sizes = dict(zip(axes, movie.shape, strict=True))
    loops = [letter for letter in axes if letter not in "cyx"]
    channels, height, width = (sizes[letter] for letter in "cyx")
    frames = movie.reshape(-1, channels, height, width)
    out, places = bytearray(), {}

    def chunk(name: str, data: bytes, reserved: int = 4080) -> None:
        places[name] = (len(out), len(data))
        out.extend(struct.pack("<IIQ", _MAGIC, reserved, len(data)))
        out.extend(name.encode().ljust(reserved, b"\0") + data)

    out.extend(struct.pack("<IIQ", _MAGIC, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!")
    out.extend(b"Ver3.0".ljust(64, b"\0"))
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * channels * 2,
        "uiHeight": height,
        "uiComp": channels,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 16,
        "uiSequenceCount": len(frames),
        "eCompression": 2,
        "uiVirtualComponents": channels,
    }
    chunk("ImageAttributesLV!", _xml("SLxImageAttributes", attributes))
    probe = {"m_ExcitationSpectrum": _SPECTRUM, "m_EmissionSpectrum": _SPECTRUM}
    planes = {
        f"a{number}": {
            "uiCompCount": 1,
            "uiSampleIndex": number,
            "sDescription": f"channel {number}",
            "pFluorescentProbe": probe,
        }
        for number in range(channels)
    }
    picture = {"dCalibration": 0.5, "bCalibrated": True}
    picture["sPicturePlanes"] = {"uiCount": channels, "uiSampleCount": 1, "sPlaneNew": planes}
    chunk("ImageMetadataSeqLV|0!", _xml("SLxPictureMetadata", picture))
    experiment: dict[str, Any] = {}
    for letter in reversed(loops):
        loop_type, parameters = _LOOPS[letter]
        if letter == "p":
            points = {f"a{number}": {"dPosX": 9.0 * number, "dPosY": 0.0} for number in range(sizes["p"])}
            parameters = {**parameters, "Points": points}
        experiment = {
            "eType": loop_type,
            "uLoopPars": {"uiCount": sizes[letter], **parameters},
            **({"ppNextLevelEx": {"i0000000000": experiment}} if experiment else {}),
        }
    chunk("ImageMetadataLV!", _xml("SLxExperiment", experiment))
    for number, frame in enumerate(frames):
        pixels = np.ascontiguousarray(frame.transpose(1, 2, 0), "<u2").tobytes()
        chunk(f"ImageDataSeq|{number}!", struct.pack("<d", 33.0 * number) + pixels, reserved=4072)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(out))
    table = b"".join(name.encode() + struct.pack("<QQ", *position) for name, position in places.items()) + end
    out.extend(struct.pack("<IIQ", _MAGIC, 32, len(table)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + table)
    path.write_bytes(out)
    return path


def _xml(name: str, value: Any) -> bytes:
    text = f'<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">{_element(name, value)}</variant>'
    return text.encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        inside = "".join(_element(key, item) for key, item in value.items())
        return f'<{name} runtype="CLxListVariant">{inside}</{name}>'
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    text = str(value).lower() if isinstance(value, bool) else value
    return f'<{name} runtype="{kinds[type(value)]}" value="{text}"/>'
