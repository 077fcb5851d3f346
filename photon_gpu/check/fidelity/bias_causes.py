"""Find the likely cause of a bias by comparing it with the bias of known faults."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.sample import Sample
from photon_gpu.engine.model.anscombe import anscombe, inverse_anscombe, inverse_anscombe_unbiased

_LOOKED_AT = 400_000
_RESOLVED = 0.3  # Read noise, photons, up to which single photons show as peaks.
_SOUND = "a sound decoder"


def likely_cause(sample: Sample, bias: NDArray, groups: NDArray) -> str:
    """Name of the known fault whose bias is nearest to the measured one; empty if none is near."""
    raw = sample.flat("raw")
    every = max(1, raw.size // _LOOKED_AT)
    raw, places, sigma = raw[::every], groups[::every], sample.flat("sigma")[::every]
    measured = bias[places]
    coarse = _of_the_bins(sample)
    left: dict[str, float] = {}
    for name, decoded in faults(sample, raw):
        shifted = (decoded - raw.astype(np.float64)) / sigma
        means = np.bincount(places, shifted, minlength=bias.size) / np.maximum(
            np.bincount(places, minlength=bias.size), 1
        )
        left[name] = float(((measured - means[places]) ** 2).mean())
    if not left:
        return ""
    # Name a fault if it explains most of the bias and a sound decoder does not.
    cause, enough = min(left, key=lambda name: left[name]), 0.3 * float((measured**2).mean())
    return cause if left[cause] <= enough < left[_SOUND] else coarse


def _of_the_bins(sample: Sample) -> str:
    """Cause of a bias that a sound decoder has, too; empty if none is known."""
    noise, step = sample.noise, sample.step
    if noise.variance <= (_RESOLVED * noise.gain) ** 2 and sample.encoding.dither is None:
        return (
            f"single photons are resolved, and bins of a step of {step:g} sigma cut their peaks unevenly; "
            "encode with dither=0 (docs/dark.md)"
        )
    return f"a step of {step:g} sigma is too coarse for this light" if step > 1 else ""


def faults(sample: Sample, raw: NDArray) -> list[tuple[str, NDArray]]:
    """Known faults, each with the values to which it decodes ``raw``."""
    noise, step = sample.noise, sample.step
    if not step:
        return []
    table = sample.encoding.table()
    if table.has_lut and table.phases == 1:
        codes = table.luts()[0][np.ascontiguousarray(raw).view(f"u{raw.dtype.itemsize}")]
        low, high = int(codes.min()), int(codes.max())
        sound = table.representatives(low, high)[codes - low]
    else:
        codes = np.rint(anscombe(raw, noise) / step)
        rising = codes * step >= 2 * np.sqrt(0.375 + noise.variance / noise.gain**2)
        sound = inverse_anscombe(codes * step, noise) - noise.gain * step**2 / 48 * rising
    out = [
        (_SOUND, sound),
        ("an inverse that is off by one code, upwards", inverse_anscombe((codes + 1) * step, noise)),
        ("an inverse that is off by one code, downwards", inverse_anscombe((codes - 1) * step, noise)),
        (
            "the inverse for averages (Makitalo and Foi) was used on single samples",
            inverse_anscombe_unbiased(codes * step, noise),
        ),
        (
            "decoding rounds down, to the lower edge of each code's bin",
            inverse_anscombe((codes - 0.5) * step, noise),
        ),
        (
            "decoding rounds up, to the upper edge of each code's bin",
            inverse_anscombe((codes + 0.5) * step, noise),
        ),
    ]
    if raw.dtype.kind in "iu":
        out += [
            ("decoding always rounds down to a whole number", np.floor(sound)),
            ("decoding always rounds up to a whole number", np.ceil(sound)),
        ]
    return out
