"""Check the structure of the package: circular imports, median module length, class size."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import grimp

PACKAGE = "suno_async"

#: Limit for the lines of the median module. ``__init__.py`` files do not count: most are empty.
MEDIAN_LINES = 150

#: Limit for the methods of a class, private and special ones included.
METHODS = 15

#: Classes that may have more methods, and why.
LARGE = {
    "SunoClient": "the public API: one method for each thing that a user does",
    "Poller": "waits, dispatching, restarts and closing share one state",
    "LocalLimiter": "six methods of the protocol; turn, window and bucket need the others",
    "SqliteJournal": "the protocol has 15 methods",
    "Sandbox": "the public API of the sandbox, with the handlers of its routes",
}


def circle() -> list[str]:
    """Return the modules of one circular import; an empty list if there is none.

    Imports under ``TYPE_CHECKING`` are included.
    """
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def large_classes(path: Path) -> dict[str, int]:
    """Return the name and the number of methods of each class with more than `METHODS` methods."""
    return {
        node.name: methods
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for methods in [
            sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
        ]
        if methods > METHODS
    }


def problems() -> list[str]:
    """Return the problems with the structure of the package, one line for each problem."""
    found: list[str] = []
    if modules := circle():
        found.append(f"circular import: {' -> '.join(modules)}")
    paths = sorted(Path(PACKAGE).rglob("*.py"))
    lines = [
        len(path.read_text(encoding="utf-8").splitlines())
        for path in paths
        if path.name != "__init__.py"
    ]
    if median(lines) > MEDIAN_LINES:
        found.append(f"the median module has {median(lines):g} lines, more than {MEDIAN_LINES}")
    large = {name: (path, count) for path in paths for name, count in large_classes(path).items()}
    found += [
        f"{path}: {name} has {count} methods, more than {METHODS}; split it, or add it with a "
        "reason to LARGE"
        for name, (path, count) in large.items()
        if name not in LARGE
    ]
    found += [f"{name} is small enough now: remove it from LARGE" for name in LARGE.keys() - large]
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or 0)
