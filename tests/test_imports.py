"""The structure of the package: what imports what."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lml_iqa"
# Each room imports only from rooms above it.
ROOMS = [
    {"errors"},
    {"utils"},
    {"images", "transforms", "shipped"},
    {"datasets", "losses", "metrics", "models"},
    {"samplers", "tasks"},
    {"datamodules"},
    {"callbacks", "data_tools"},
    {"cli"},
    {"experiments"},
    {"main"},
    {"__main__"},
]


def modules():
    """Path of each module by its name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path, known):
    """Modules of the package that a module imports anywhere in its text."""
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


def test_no_circles(graph):
    assert len(graph) > 100
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_room_imports_from_below(graph):
    level = {room: n for n, rooms in enumerate(ROOMS) for room in rooms}
    for name, others in graph.items():
        if name == "lml_iqa":
            assert not others
            continue
        room = name.split(".")[1]
        for other in others - {"lml_iqa"}:
            below = other.split(".")[1]
            assert below == room or level[below] < level[room], f"{name} imports {other}"


def test_the_dispatcher_is_imported_by_nobody(graph):
    assert {name for name, others in graph.items() if "lml_iqa.main" in others} == {"lml_iqa.__main__"}
