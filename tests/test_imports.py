"""Import structure of the package."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lml_iqa"
# Each layer imports only from layers above it.
LAYERS = [
    {"errors"},
    {"utils"},
    {"images", "transforms", "shipped"},
    {"datasets", "losses", "metrics", "models"},
    {"samplers", "tasks"},
    {"datamodules"},
    {"callbacks", "data_tools", "inference"},
    {"cli"},
    {"experiments"},
    {"main"},
    {"__main__"},
]


def modules():
    """Paths of all modules, by module name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path, known):
    """Modules of the package that a module imports, at any level."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lml_iqa":
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {member if member in known else node.module for member in members}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "lml_iqa"}
    return names


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: imported(path, known) - {name} for name, path in known.items()}


def test_no_import_cycles(graph):
    assert len(graph) > 100
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_layers_import_only_from_above(graph):
    level = {part: n for n, layer in enumerate(LAYERS) for part in layer}
    for name, others in graph.items():
        if name == "lml_iqa":
            assert not others
            continue
        part = name.split(".")[1]
        for other in others - {"lml_iqa"}:
            used = other.split(".")[1]
            assert used == part or level[used] < level[part], f"{name} imports {other}"


def test_only_dunder_main_imports_main(graph):
    assert {name for name, others in graph.items() if "lml_iqa.main" in others} == {"lml_iqa.__main__"}
