"""The house: folders import downward only, no import runs in a circle, kernels stay small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNELS = sorted((ROOT / "kernels").rglob("*.py"))
MODULES = sorted((ROOT / "photon_gpu").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.is_file())
SUPPORT = sorted((ROOT / "tests" / "support").rglob("*.py"))
PYTHON = sorted(
    path
    for folder in ("photon_gpu", "kernels", "benchmarks", "decoder", "docs", "libphoton", "tests")
    for path in (ROOT / folder).rglob("*.py*")
    if path.suffix in (".py", ".pyi")
)
MOST_ARGUMENTS = 8
MOST_MODULES = 14
"""More files than that in one folder, and a newcomer no longer sees what it is about."""

# From the bottom up. A module imports from its own layer's folder and from the layers below;
# folders that share a line are peers and do not import each other.
LAYERS = [
    ["redact_credentials"],
    ["logger"],
    ["errors", "progress_bar"],
    ["file_types"],
    ["kernels"],
    ["engine.runtime"],
    ["engine.model"],
    ["engine.codec"],
    ["engine.gpu"],
    ["engine.layouts"],
    ["engine"],
    ["recording"],
    ["source_metadata_zip"],
    ["encode_settings"],
    ["indexing"],
    ["plugins", "store", "sources"],
    ["plots"],
    ["estimate", "reader"],
    ["interop"],
    ["check"],
    ["writer"],
    ["live", "cluster", "tools"],
    ["dj"],
    ["cli"],
    [""],  # photon_gpu itself: its public names
]

EMPTY_NAMES = {"found", "kind", "place", "given", "said", "held", "noted", "aside"}
"""Words that say nothing about what a variable, parameter, attribute or function is."""

PUBLIC_NAMES = {("Problem", "kind"), ("ReportLine", "found")}
"""Attributes of 0.1.0, which ``--json`` and stored movies know by the same names."""


def name_of(path: Path) -> str:
    """Dotted name below ``photon_gpu``; kernels/ is installed as photon_gpu.kernels."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts[1:] if parts[0] == "photon_gpu" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES + KERNELS}


def below(name: str) -> str | None:
    """Name below photon_gpu, None for a module of others."""
    first, _, rest = name.partition(".")
    return rest if first == "photon_gpu" else None


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module of the house that a file imports.

    Imports for type checkers, inside functions, and by a name in a string count like any other.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        result: list[str] = []
        if isinstance(node, ast.Import):
            result = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            deeper = [f"{node.module}.{alias.name}" for alias in node.names]
            result = [name if below(name) in NAMES else str(node.module) for name in deeper]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            result = [node.value] if "." in node.value else []  # of a module that is loaded by its name
        for name in result:
            if (module := below(name)) in NAMES:
                yield node.lineno, module


GRAPH = {
    name_of(path): sorted({name for _, name in imports(path)} - {name_of(path)}) for path in MODULES + KERNELS
}


def layer(module: str) -> tuple[int, str]:
    """Number of a module's layer, and the folder that put it there: the deepest that is listed."""
    folder = module
    while True:
        for number, folders in enumerate(LAYERS):
            if folder in folders:
                return number, folder
        folder = folder.rpartition(".")[0]


@pytest.mark.parametrize("path", MODULES + KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward(path):
    module = name_of(path)
    number, folder = layer(module)
    for line, other in imports(path):
        theirs, from_folder = layer(other)
        assert from_folder == folder or theirs < number, (
            f"{path.relative_to(ROOT)}:{line}: {folder or 'photon_gpu'} imports {other}, which is not "
            f"below it"
        )


def test_no_module_imports_itself_through_others():
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in GRAPH[module]:
            walk(other, (*path, module))
        done.add(module)

    for module in GRAPH:
        walk(module, ())
    assert done == NAMES


def test_no_folder_is_crowded():
    others = [*SUPPORT, *(ROOT / "benchmarks" / "contenders").rglob("*.py")]
    for folder in {path.parent for path in [*MODULES, *KERNELS, *others]}:
        count = sum(path.name not in ("__init__.py", "__main__.py") for path in folder.glob("*.py"))
        assert count <= MOST_MODULES, f"{folder.relative_to(ROOT)} holds {count} modules"


def test_tests_share_only_what_lies_in_support():
    """A helper in a test module, a conftest or a program is not imported: it moves to ``tests/support``."""
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
            for name in names:
                first = name.partition(".")[0]
                other = first in ("", "tests", "conftest") or first.startswith("test_")
                assert not other or name.startswith("tests.support."), (
                    f"{path.relative_to(ROOT)}:{node.lineno}: imports {name}; what tests share belongs in "
                    f"tests/support"
                )


def test_one_module_starts_threads():
    """Calls run in a ``Pool``, loops in a ``ServiceThread``; both begin in ``service_thread.py``."""
    starters = set()
    for path in MODULES + KERNELS:
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
            if name in {"Thread", "ThreadPoolExecutor", "ProcessPoolExecutor", "ThreadPool"}:
                starters.add(name_of(path))
    assert starters == {"engine.runtime.service_thread"}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_kernels_import_nothing_but_numpy_numba_and_cupy(path):
    allowed = {
        "__future__",
        "numpy",
        "numba",
        "llvmlite",
        "cupy",
        "typing",
        "collections",
        "dataclasses",
        "functools",
        "itertools",
        "pathlib",
    }
    allowed |= {"math", "importlib", "threading", "ctypes", "os", "contextlib", "warnings", "weakref"}
    allowed |= {"atexit", "hashlib", "shutil", "tempfile"}  # where compiled kernels are cached
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert name.split(".")[0] in allowed or name.startswith("photon_gpu.kernels"), name


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_kernels_take_few_arguments(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            count = len(node.args.args) + len(node.args.kwonlyargs)
            assert count <= MOST_ARGUMENTS, f"{node.name} takes {count}"


@pytest.mark.parametrize("path", MODULES + KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_and_public_function_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of all variables, parameters, attributes, functions and classes that a program makes."""
    nodes = [(tree, "")]
    while nodes:
        node, owner = nodes.pop()  # the owner is the class whose body this is
        name = None
        if isinstance(node, ast.Name | ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                name = node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(
            node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar
        ):
            name = node.name
        elif isinstance(node, ast.alias):
            name = node.asname  # a library's own name is not ours
        if name and not name.startswith("test_") and (owner, name) not in PUBLIC_NAMES:
            yield node.lineno, name
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            owner = node.name if isinstance(node, ast.ClassDef) else ""
        nodes += [(child, owner) for child in ast.iter_child_nodes(node)]


def test_names_say_what_a_thing_is():
    """``found_files`` is as empty as ``found``: say what was found."""
    for path in PYTHON:
        for line, name in bound_names(ast.parse(path.read_text())):
            word = EMPTY_NAMES & set(name.lower().split("_"))
            assert not word, f"{path.relative_to(ROOT)}:{line}: {name} does not say what it is; rename it"


def type_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of the classes and type aliases of a module.

    Left out are type variables, and options of the command line, which are named as their parameters.
    """
    tree = ast.parse(path.read_text())
    yield from ((node.lineno, node.name) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for node in tree.body:
        if isinstance(node, ast.Assign) and not ast.unparse(node.value).startswith(
            ("TypeVar(", "Annotated[")
        ):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            yield from ((node.lineno, name) for name in names if re.match("_?[A-Z][a-z]", name))


def test_a_type_name_stands_for_one_thing():
    """Who reads ``Header`` somewhere need not ask which of several classes that is."""
    places: dict[str, str] = {}
    for path in MODULES + KERNELS:
        for line, name in type_names(path):
            here = f"{path.relative_to(ROOT)}:{line}"
            assert name not in places, f"{here}: {places[name]} defines {name}, too; rename one of them"
            places[name] = here
