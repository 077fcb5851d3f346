"""How a movie is stored: validated once, no contradictions."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from photon_gpu.engine.codec.encoding import LAYOUTS, Encoding
from photon_gpu.engine.model.code_table import PHASES
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError


def test_the_defaults_are_plain_at_half_a_sigma():
    encoding = Encoding()
    assert (encoding.layout, encoding.step, encoding.noise, encoding.phases, encoding.seed) == (
        "plain",
        0.5,
        NoiseModel(),
        1,
        0,
    )
    assert set(LAYOUTS) == {"plain", "compact", "lossless"}


def test_lossless_quantizes_nothing():
    encoding = Encoding(layout="lossless", step=1.0, dither=5)
    assert encoding.step is None and encoding.dither is None and encoding.noise is None
    with pytest.raises(InvalidInputError, match="not quantized"):
        encoding.table()


def test_dither_has_sixteen_phases_and_exact_values_none():
    assert Encoding(dither=0).phases == PHASES and Encoding(dither=7).seed == 7
    assert Encoding(layout="compact", dither=7, exact=True).phases == 1
    assert (
        Encoding(dither=np.uint32(2**32 - 1)).dither == 2**32 - 1
        and type(Encoding(dither=np.int8(3)).dither) is int
    )


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"layout": "flat"}, "plain, compact, lossless"),
        ({"step": 0}, "step is 0"),
        ({"layout": "compact", "step": None}, "0.5 is the default"),
        ({"dither": -1}, "dither is -1"),
        ({"dither": 2**32}, "dither"),
        ({"dither": True}, "dither"),
        ({"dither": 1.0}, "dither"),
        ({"dither": "7"}, "dither"),
        ({"exact": True}, "compact"),
        ({"layout": "compact", "exact": True, "dtype": "float32"}, "integer"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(InvalidInputError, match=words):
        Encoding(**changes)


def test_dtypes_are_named_natively():
    assert Encoding(dtype=">u2").dtype == "uint16" and Encoding(dtype=np.float32).dtype == "float32"
    with pytest.raises(UnsupportedTypeError):
        Encoding(dtype="bool")


def test_tables_are_shared_and_copies_are_checked():
    first, second = (
        Encoding(noise=NoiseModel(gain=3.0)),
        Encoding(noise=NoiseModel(gain=3.0), layout="compact"),
    )
    assert first.table() is second.table()
    assert first.but(step=1.0).table() is not first.table()
    with pytest.raises(InvalidInputError):
        first.but(step=-1)
    with pytest.raises(FrozenInstanceError):
        first.step = 1.0
