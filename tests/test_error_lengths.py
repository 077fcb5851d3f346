"""Every error and warning in the code is at most 300 characters long, with values of 20 characters each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import photon_gpu
from photon_gpu import errors
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


@pytest.mark.parametrize("inner", [OSError, errors.InvalidInputError])
def test_the_text_of_a_replaced_error_is_cut_in_the_middle_and_remedies_stay(inner):
    with pytest.raises(errors.CorruptDataError) as raised:
        try:
            raise inner(f"page 7 {'x y ' * 65}is bad: copy it")
        except (OSError, ValueError) as error:
            raise errors.CorruptDataError(f"a.tif: it cannot be read: {error}; or leave it out") from error
    text = str(raised.value)
    assert len(text) == LONGEST
    assert text.startswith("a.tif: it cannot be read: page 7 x y")
    assert text.endswith("is bad: copy it; or leave it out") and "..." in text


def test_the_text_of_a_replaced_error_stays_whole_if_it_fits():
    with pytest.raises(errors.CorruptDataError, match="^a.tif: disk x{200}$"):
        try:
            raise OSError(f"disk {'x' * 200}")
        except OSError as error:
            raise errors.CorruptDataError(f"a.tif: {error}") from error


def test_long_texts_are_measured():
    call = f"raise InvalidInputError(f'{'x' * 290}{{name}}' if a else 'short')"
    assert list(messages(ast.parse(call))) == [(1, 310)]
