"""The house: who imports whom, how long a module is, what kernels may touch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNELS = sorted((ROOT / "kernels").glob("*.py"))
MODULES = sorted((ROOT / "photon_gpu").rglob("*.py"))
LONGEST = 450
MOST_ARGUMENTS = 8

# From the bottom up: a module imports from layers below its own, or from its own package.
LAYERS = [
    {"errors", "beside", "callable_module", "crc", "durable", "scratch", "stages"},
    {"noise", "kernels", "body"},
    {"transform"},
    {"representatives"},
    {"tables", "blosc"},
    {"backend", "predictors", "root"},
    {"moving"},
    {"encoding", "forward", "payload", "pool"},
    {"inverse"},
    {"coder"},
    {"partial"},
    {"gpu"},
    {"layouts", "report"},
    {"codecs", "metadata", "warmup", "storage", "sources"},
]


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, *, at_load: bool = False) -> set[str]:
    """Modules of photon_gpu that a file imports; ``at_load``: only those its import runs."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if at_load and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if at_load and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            if isinstance(child, ast.ImportFrom) and child.module:
                assert child.level == 0, f"{path}: imports are absolute"
                for alias in child.names:
                    deeper = f"{child.module}.{alias.name}"
                    found.add(deeper if deeper in NAMES else child.module)
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


NAMES = {name_of(path) for path in MODULES} | {f"photon_gpu.kernels.{path.stem}" for path in KERNELS}
GRAPH = {name_of(path): imported(path, at_load=True) & NAMES for path in MODULES}


def layer(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else module
    return next((i for i, names in enumerate(LAYERS) if part in names), None)


def test_no_module_imports_itself_through_others():
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in GRAPH.get(module, ()):
            if other != module:
                walk(other, (*path, module))
        done.add(module)

    for module in GRAPH:
        walk(module, ())
    assert len(done) > 60


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_engine_imports_downward_only(path):
    """Everything below codecs, and nothing there knows what is built on it."""
    module = name_of(path)
    own = layer(module)
    for other in sorted(GRAPH[module]):
        theirs = layer(other)
        if own is None or other.split(".")[1:2] == module.split(".")[1:2]:
            continue
        assert theirs is not None, f"{module}, in the engine, imports {other}, which is built on it"
        # Shared things of one layer may see each other as long as there is no circle (tested above).
        assert theirs <= own, f"{module} imports {other}, which lies above it"


@pytest.mark.parametrize("path", MODULES + KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_import_nothing_but_numpy_numba_and_cupy(path):
    allowed = {
        "__future__",
        "numpy",
        "numba",
        "cupy",
        "typing",
        "collections",
        "dataclasses",
        "functools",
        "pathlib",
    }
    allowed |= {"math", "importlib", "threading", "ctypes", "os", "contextlib", "warnings", "weakref"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert name.split(".")[0] in allowed or name.startswith("photon_gpu.kernels"), name


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
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
