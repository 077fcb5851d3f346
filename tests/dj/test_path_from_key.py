"""No two keys share a path; no key leaves its table's folder."""

from __future__ import annotations

import posixpath
import string
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import PureWindowsPath
from uuid import UUID

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from photon_gpu.dj.path_from_key import FOLDER_BYTES, encode_value, key_path, movie_path
from photon_gpu.errors import InvalidInputError

# Python 3.13 has os.path.isreserved instead.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_reserved:DeprecationWarning")
TEXT = st.text(alphabet=st.characters(), max_size=40) | st.sampled_from(
    ["", ".", "..", "/", "\0", "%", "~", "a/b", "a%2Fb", "a=b", "x" * 300, "é" * 200, "x" * 10_000, " ", "\\"]
)
ONE_TYPE = st.one_of(
    st.tuples(TEXT, TEXT),
    st.tuples(st.datetimes(), st.datetimes()),
    st.tuples(st.dates(), st.dates()),
    st.tuples(st.integers(), st.integers()),
    st.tuples(st.binary(), st.binary()),
    st.tuples(st.uuids(), st.uuids()),
)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ({"recording_id": 42}, "recording_id=42"),
        ({"subject_id": 10, "session_date": "2024-01-15"}, "subject_id=10/session_date=2024-01-15"),
        ({"subject_id": 10, "session_date": date(2024, 1, 15)}, "subject_id=10/session_date=2024-01-15"),
        ({"filename": "data/raw.tif"}, "filename=data%2Fraw.tif"),
    ],
)
def test_keys_give_the_documented_paths(key, path):
    assert key_path(key) == path


def test_the_documented_movie_path():
    path = movie_path("calcium_imaging", "recording", {"recording_id": 42}, "movie")
    assert path == "calcium_imaging/recording/recording_id=42/movie.zarr"


@pytest.mark.parametrize(
    "same",
    [
        (42, np.int64(42), "42", Decimal(42)),
        (True, 1, np.bool_(True)),
        (date(2024, 1, 15), "2024-01-15"),
        (datetime(2024, 1, 15, 10), "2024-01-15 10:00:00", np.datetime64("2024-01-15T10:00:00")),
        (time(10, 30), "10:30:00"),
        (UUID(int=5), str(UUID(int=5))),
        (1.5, np.float64(1.5), Decimal("1.5")),
    ],
)
def test_values_a_database_holds_equal_have_one_path(same):
    assert len({encode_value(value) for value in same}) == 1


@given(ONE_TYPE)
@example(("a/b", "a%2Fb"))
@example(("x" * 300, "x" * 301))
@example((datetime(2024, 1, 1, 0, 0, 0, 1), datetime(2024, 1, 1, 0, 0, 0, 2)))
def test_two_values_never_share_a_path(pair):
    one, other = pair
    assert (key_path({"a": one}) == key_path({"a": other})) == (one == other)


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
@example(("x" * 250, "y" * 250, "z" * 250), ("x" * 250, "y" * 250, "z" * 249))
@example(("a/b=c", "", "d"), ("a", "c", "d"))
def test_two_compound_keys_never_share_a_path(one, other):
    paths = [key_path(dict(zip("abc", values, strict=True))) for values in (one, other)]
    assert (paths[0] == paths[1]) == (one == other)


def test_what_was_shortened_cannot_be_typed():
    long = key_path({"a": "x" * 300})
    assert key_path({"a": long.removeprefix("a=")}) != long
    whole = key_path(dict.fromkeys("abcd", "x" * 200))
    assert "~" in whole
    assert whole != key_path({"a": whole.removeprefix("a=")})


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=8), TEXT, max_size=6), TEXT)
def test_no_key_leaves_its_table(key, token):
    path = movie_path("schema", "table", key, "movie")
    assert path.startswith("schema/table/")
    assert posixpath.normpath(path) == path
    assert path.isascii()
    assert path.isprintable()
    assert set(path) <= set(string.ascii_letters + string.digits + "-._~%=/")
    assert all(0 < len(part) <= FOLDER_BYTES for part in path.split("/"))
    assert len(path) <= 600


@pytest.mark.parametrize("table", ["..", ".", "#lookup", "a/b", "__computed", "master__part"])
def test_odd_tables_stay_inside_their_schema(table):
    path = movie_path("lab", table, {"i": 1}, "movie")
    assert posixpath.normpath(path) == path
    assert path.startswith("lab/")
    assert path.count("/") == 3
    assert "#" not in path


DEVICES = ["CON", "nul", "Aux", "prn", "COM1", "lpt9", "con.x", "nul.zarr", "CONIN$"]


@given(st.lists(TEXT | st.sampled_from([*DEVICES, "a.", "a ", "C:", "C:\\x", "\\\\srv\\share"]), max_size=4))
@example(DEVICES[:4])
def test_windows_takes_every_part_of_a_path_as_it_is(values):
    key = dict(zip("abcd", values, strict=False))
    relative = movie_path("nul", "aux", key, "con", token="T")
    for location in ("D:\\lab\\store", "\\\\server\\share\\store"):
        path = PureWindowsPath(location) / relative
        assert path.is_relative_to(location) and path.relative_to(location).as_posix() == relative
    for part in relative.split("/"):
        assert not PureWindowsPath(part).is_reserved() and part == part.rstrip(". ") and ":" not in part


@pytest.mark.parametrize("name", DEVICES)
def test_a_table_or_a_field_with_the_name_of_a_device(name):
    parts = movie_path(name, name, {"i": 1}, name.partition(".")[0]).split("/")
    assert not any(PureWindowsPath(part).is_reserved() for part in parts)


def test_prefix_partition_and_token_are_honoured():
    key = {"subject": 7, "session": 1}
    path = movie_path("s", "t", key, "movie", prefix="/_schema/", partition="{session}", token="Ab_-9")
    assert path == "_schema/session=1/s/t/subject=7/movie_Ab_-9.zarr"


def test_no_key_at_all():
    assert movie_path("s", "t", {}, "movie", token="T") == "s/t/movie_T.zarr"


def test_a_missing_value_is_refused():
    with pytest.raises(InvalidInputError, match="must have a value"):
        key_path({"a": None})
