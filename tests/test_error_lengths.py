"""Every error and warning in the code is at most 300 characters long, with values of 20 characters each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import photon_gpu
from photon_gpu import errors
from tests.support import short_errors
from tests.support.short_errors import LONGEST

PACKAGE = Path(photon_gpu.__file__).parent
NAMES = {name for name in vars(errors) if name.endswith(("Error", "Warning"))}
VALUE = 20  # characters of a number, a name, or a path without its folders


def length(node: ast.expr) -> int:
    """Characters of a text that the code puts together."""
    match node:
        case ast.Constant(value=value):
            return len(str(value))
        case ast.JoinedStr(values=parts):
            return sum(map(length, parts))
        case ast.BinOp(left=left, right=right):
            return length(left) + length(right)
        case ast.IfExp(body=body, orelse=other):
            return max(length(body), length(other))
        case ast.FormattedValue(value=ast.IfExp() as choice):
            return length(choice)
    return VALUE


def messages(tree: ast.AST):
    """Yield texts of errors and warnings, with the calls that make them."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and call.args:
            name = ast.unparse(call.func).rpartition(".")[2]
            if name in NAMES or name == "warn":
                yield call.lineno, length(call.args[0])


FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_errors_are_short(folder):
    for path in folder.glob("*.py"):
        for line, characters in messages(ast.parse(path.read_text())):
            assert characters <= LONGEST, f"{path.name}:{line}: {characters} characters"


def test_long_texts_of_other_libraries_are_cut_and_the_remedy_stays():
    long = "x y " * 200
    with pytest.raises(errors.CorruptDataError) as raised:
        try:
            raise OSError(long)
        except OSError as error:
            raise errors.CorruptDataError(f"movie.h5: it cannot be read: {error}; copy it again") from error
    text = str(raised.value)
    assert len(text) == LONGEST
    assert text.startswith("movie.h5: it cannot be read: x y x y")
    assert text.endswith("...; copy it again")


def test_short_texts_of_other_libraries_and_own_texts_stay_whole():
    own = "x y " * 70
    for cause in (OSError("disk full"), errors.PhotonError(own)):
        with pytest.raises(errors.PhotonError) as raised:
            try:
                raise cause
            except (OSError, errors.PhotonError) as error:
                raise errors.PhotonError(f"{own}: {error}") from error
        assert str(raised.value) == f"{own}: {cause}"
    short_errors.TOO_LONG.clear()


def test_long_texts_are_measured():
    call = f"raise InvalidInputError(f'{'x' * 290}{{name}}' if a else 'short')"
    assert list(messages(ast.parse(call))) == [(1, 310)]
