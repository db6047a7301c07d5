"""The imports between the modules of the package, read from their source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: Folders of the repository that hold the package.
FOLDERS = ("repsim", "activations", "figures", "cli")

#: The front doors: they name things of every folder, and import them when they are first used.
FRONT_DOORS = frozenset({"repsim", "repsim.__main__"})


def module_name(file: Path) -> str:
    """The dotted name under which a file of the repository is imported."""
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    parts = parts if parts[0] == "repsim" else ["repsim", *parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    files = (file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")))
    return {module_name(file): file for file in files}


def imports(file: Path, known: Iterable[str]) -> set[str]:
    """The modules of the package that a file imports, wherever in it the import stands.

    Imports for type checkers alone are left out. ``from package import module`` is an import of
    the module; the packages around a module are not counted.
    """
    names = set(known)
    found = set()
    for node in _running(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inside & names)
            if inside - names:
                found.add(str(node.module))
    return {name for name in found if name.split(".")[0] in FOLDERS}


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are executed: all but the bodies of ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            children: Iterable[ast.AST] = child.orelse
        else:
            children = [child]
        for each in children:
            yield each
            yield from _running(each)


def graph() -> dict[str, set[str]]:
    """The modules of the package, each with those that it imports; without the front doors."""
    files = {name: file for name, file in modules().items() if name not in FRONT_DOORS}
    return {name: imports(file, files) - {name} for name, file in files.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges.get(name, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return found
