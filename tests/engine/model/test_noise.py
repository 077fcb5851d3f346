"""The noise model: validated once, immutable, survives JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError

numbers = st.floats(-1e12, 1e12)


def test_the_default_is_a_photon_counter():
    assert NoiseModel() == NoiseModel(gain=1.0, offset=0.0, variance=0.0)


@given(gain=st.floats(1e-6, 1e12), offset=numbers, variance=st.floats(0, 1e12))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_it_survives_json_bit_for_bit(gain, offset, variance):
    model = NoiseModel(gain=gain, offset=offset, variance=variance)
    again = NoiseModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again == model and hash(again) == hash(model)


@pytest.mark.parametrize("name", ["gain", "offset", "variance"])
@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), 1e13, "2", b"2", True, None, [1.0, 2.0], 1j, object],
    ids=repr,
)
def test_what_is_no_number_is_refused_by_name(name, value):
    with pytest.raises(InvalidInputError, match=f"noise model: {name} is"):
        NoiseModel(**{name: value})


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"gain": 0}, "positive"),
        ({"gain": -1}, "positive"),
        ({"gain": 1e-7}, "1e-6"),
        ({"variance": -1e-9}, "offset"),
    ],
)
def test_values_without_meaning_are_refused(changes, words):
    with pytest.raises(InvalidInputError, match=words):
        NoiseModel(**changes)


@pytest.mark.parametrize("number", [2, np.float32(2), np.int16(2), np.array(2.0), Fraction(2)])
def test_any_kind_of_number_becomes_a_float(number):
    model = NoiseModel(gain=number, offset=number, variance=number)
    assert all(type(value) is float and value == 2.0 for value in model.to_dict().values())


def test_it_cannot_be_changed_nor_given_by_position():
    with pytest.raises(FrozenInstanceError):
        NoiseModel().gain = 2.0
    with pytest.raises(TypeError):
        NoiseModel(2.0)


def test_unknown_keys_are_named():
    with pytest.raises(InvalidInputError, match="'gian'"):
        NoiseModel.from_dict({"gian": 2.0})


def test_the_line_is_that_of_poisson_counts_with_read_noise():
    model = NoiseModel(gain=3.0, offset=50.0, variance=25.0)
    rng = np.random.default_rng(0)
    values = 50 + 3 * rng.poisson(40, 400_000) + rng.normal(0, 5, 400_000)
    assert model.photons(170.0) == 40.0
    assert abs(values.std() / model.sigma(values.mean()) - 1) < 0.01
    assert model.sigma(50.0) == model.sigma(-1000.0) == 5.0
