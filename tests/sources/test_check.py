"""Shapes and dtypes: what may enter, and what each refusal says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.check import ALLOWED_DTYPES, check_movie, choose_movie, is_movie


@pytest.mark.parametrize("dtype", ALLOWED_DTYPES)
@pytest.mark.parametrize("order", "<>=")
def test_allowed_dtypes_become_native(dtype, order):
    native = check_movie((3, 4, 5), np.dtype(dtype).newbyteorder(order), "x")
    assert native == np.dtype(dtype) and native.isnative


@pytest.mark.parametrize(
    "dtype, cure",
    [
        ("bool", "uint8"),
        ("complex64", "magnitude"),
        ("complex128", "magnitude"),
        ("float16", "float32"),
        ("longdouble", "float64"),
        ("object", "numeric array"),
        ("U5", "path"),
        ("S5", "path"),
        ("datetime64[s]", "astype"),
        ("timedelta64[s]", "astype"),
        ([("a", "i4"), ("b", "f4")], "one field"),
        ("V8", "one field"),
        ("(2,)u2", "one field"),
    ],
)
def test_other_dtypes_are_named_with_what_is_allowed_and_a_cure(dtype, cure):
    with pytest.raises(UnsupportedTypeError, match=f"^probe: dtype .* arrived.*int8, int16.*float64.*{cure}"):
        check_movie((3, 4, 5), dtype, "probe")


def test_what_numpy_does_not_know_as_a_dtype():
    with pytest.raises(UnsupportedTypeError, match="torch"):
        check_movie((3, 4, 5), "torch.int16", "x")


def test_dtype_metadata_of_an_enumeration_is_dropped():
    dtype = np.dtype("int16", metadata={"enum": {"a": 1}})
    assert check_movie((1, 1, 1), dtype, "x").metadata is None


@pytest.mark.parametrize("shape", [(), (5,), (5, 6)])
def test_too_few_axes_say_how_to_add_time(shape):
    with pytest.raises(InvalidInputError, match=r"^probe: .*\(T, \.\.\., H, W\).*image\[np\.newaxis\]"):
        check_movie(shape, "uint16", "probe")


@pytest.mark.parametrize("shape", [(0,), (0, 4, 4), (4, 0, 4), (4, 4, 0), (4, 0, 4, 4)])
def test_an_axis_of_length_zero(shape):
    with pytest.raises(InvalidInputError, match="empty"):
        check_movie(shape, "uint16", "x")


@pytest.mark.parametrize("shape", [(float("nan"), 4, 4), (4.0, 4, 4), (None, 4, 4)])
def test_a_length_that_is_not_known(shape):
    with pytest.raises(InvalidInputError, match="compute_chunk_sizes"):
        check_movie(shape, "uint16", "x")


def test_the_only_array_is_chosen_whatever_it_is():
    assert choose_movie({"a": ((3,), "U4")}, name="x", option="key") == "a"


def test_the_only_movie_among_arrays_is_chosen():
    result = {"a": ((3,), "f8"), "b": ((3, 4, 5), "f4"), "c": (None, "f8")}
    assert choose_movie(result, name="x", option="key") == "b"


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({}, r"none of its arrays .*It holds: nothing"),
        ({"a": ((3,), "f8"), "b": ((3, 4), "f8")}, r"none of its arrays .*a f8 \(3,\), b f8 \(3, 4\)"),
        ({"a": ((3, 4, 5), "f8"), "b": ((3, 4, 5), "f4")}, r"^x: 2 arrays .*by key=.*a f8 .*, b f4"),
    ],
)
def test_several_or_no_movies_are_listed(arrays, message):
    with pytest.raises(InvalidInputError, match=message):
        choose_movie(arrays, name="x", option="key")


@given(st.lists(st.integers(0, 5), max_size=6), st.sampled_from([*ALLOWED_DTYPES, "bool", "complex64", "O"]))
def test_a_movie_has_three_axes_none_empty_and_numbers(shape, dtype):
    assert is_movie(shape, dtype) == (len(shape) >= 3 and all(shape) and dtype in ALLOWED_DTYPES)
