"""What the Python files of a flow import: names that Phoundry answers for, packages that are there.

Nothing is imported to find out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from phoundry.flows.check.finding import Notes, Severity
from phoundry.flows.check.requirements import required_names
from phoundry.flows.provided.finder import ROOT, TABLE, not_provided

MOST_FILES = 200  # of the flow's own, followed from a tool


def check_imports(
    root: Path, includes: Sequence[str], notes: Notes, file: Path, tree: ast.Module
) -> None:
    """The imports of `file`, and of the flow's own modules that it imports."""
    places = [root, *((root / item).parent for item in includes)]
    required = required_names(root)
    pending, seen = [(file, tree)], {file}
    while pending and len(seen) < MOST_FILES:
        current, module = pending.pop()
        for item, soft in _imports(module):
            for name, attribute in _names(item):
                own = _own_file(places, current.parent, name)
                if own is not None:
                    if own not in seen and (parsed := _parsed(own)) is not None:
                        pending.append((own, parsed))
                    seen.add(own)
                elif fault := _fault(places, name, attribute, required):
                    message, code, setup = fault
                    severity: Severity = "warning" if soft else "error"
                    notes.in_file(
                        severity,
                        code,
                        message,
                        current,
                        item.lineno,
                        item.col_offset + 1,
                        remedy=f"Install it: pip install {name.partition('.')[0]}; or name it in "
                        "the flow's requirements.txt."
                        if setup
                        else None,
                        setup=setup,
                    )


def _imports(module: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import, and whether the file can do without: in a `try`, or in a function."""
    pending: list[tuple[ast.AST, bool]] = [(module, False)]
    while pending:
        node, soft = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, soft
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        inside = soft or isinstance(node, ast.Try | ast.FunctionDef | ast.AsyncFunctionDef)
        pending += [(child, inside) for child in ast.iter_child_nodes(node)]


def _names(item: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str | None]]:
    """(module, name taken from it)"""
    if isinstance(item, ast.Import):
        for alias in item.names:
            yield alias.name, None
    elif item.level == 0 and item.module:
        for alias in item.names:
            yield item.module, alias.name


def _own_file(places: Sequence[Path], beside: Path, name: str) -> Path | None:
    """The flow's own file that `name` is imported from."""
    parts = name.split(".")
    for place in (*places, beside):
        for file in (
            place.joinpath(*parts).with_suffix(".py"),
            place.joinpath(*parts, "__init__.py"),
        ):
            if file.is_file():
                return file
        if place.joinpath(parts[0]).is_dir() and any(place.joinpath(parts[0]).glob("*.py")):
            return place / parts[0]
    return None


def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _fault(
    places: Sequence[Path], name: str, attribute: str | None, required: set[str]
) -> tuple[str, str, bool] | None:
    """(message, code, whether the machine lacks it) of an import that would fail."""
    top = name.partition(".")[0]
    if top == ROOT:
        if name not in TABLE:
            return not_provided(name), "PythonLoadError", False
        known = attribute in TABLE[name] or f"{name}.{attribute}" in TABLE
        if attribute not in (None, "*") and not known:
            return not_provided(f"{name}.{attribute}"), "PythonLoadError", False
        return None
    if top in sys.stdlib_module_names or top.lower().replace("_", "-") in required:
        return None
    try:
        found = find_spec(top) is not None
    except (ImportError, ValueError):
        found = False
    if found:
        return None
    return f"The package '{top}' is imported and not installed here.", "PythonLoadError", True
