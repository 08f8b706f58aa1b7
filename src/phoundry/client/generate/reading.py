"""What the synchronous nouns are: classes, verbs, types, read from their source."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

CLIENT = Path(__file__).parents[1]
OFTEN = {
    "collections.abc": ("AsyncGenerator", "AsyncIterator", "Awaitable", "Callable"),
    "contextlib": ("AbstractAsyncContextManager",),
}

# Public methods that are not for users, and those that AsyncClient has in its own form.
OMITTED = {
    ("Flows", "keep_connections"): "a part of FlowChat",
    ("Client", "close"): "part of the head below",
    ("Client", "home"): "part of the head below",
}


@dataclass
class Module:
    """A module of a noun, read: its class, and where the names in its annotations come from."""

    path: Path
    noun: ast.ClassDef
    imports: dict[str, str] = field(default_factory=dict[str, str])
    wanted: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # module, name
    needed: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # while running

    def want(self, node: ast.AST) -> None:
        """Import every name that an annotation uses."""
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id in self.imports:
                self.wanted.add((self.imports[each.id], each.id))
            elif isinstance(each, ast.Constant) and isinstance(each.value, str):
                self.want(ast.parse(each.value, mode="eval"))


def read(path: Path, name: str) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = {name: module for module, names in OFTEN.items() for name in names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imports |= {alias.name: node.module for alias in node.names}
    dotted = f"phoundry.client.{path.stem}"
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            imports[node.targets[0].id] = dotted
    noun = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return Module(path, noun, imports)


def callbacks() -> dict[str, ast.expr]:
    """Names that stand for a `Callable[…]` in the client's modules."""
    found: dict[str, ast.expr] = {}
    for path in CLIENT.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Callable["):
                found[ast.unparse(node.targets[0])] = node.value
    return found


def methods(noun: ast.ClassDef) -> list[ast.FunctionDef]:
    return [
        node
        for node in noun.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def is_noun(method: ast.FunctionDef) -> bool:
    return any(ast.unparse(each) == "cached_property" for each in method.decorator_list)


def verbs(noun: ast.ClassDef) -> list[ast.FunctionDef]:
    """The methods that users call."""
    return [
        method
        for method in methods(noun)
        if not is_noun(method) and (noun.name, method.name) not in OMITTED
    ]


def arguments(method: ast.FunctionDef) -> list[ast.arg]:
    return [*method.args.args[1:], *method.args.kwonlyargs]


def calls_back(each: ast.arg, aliases: dict[str, ast.expr]) -> bool:
    names = {ast.unparse(node) for node in ast.walk(must(each.annotation))}
    return "Callable" in names or not names.isdisjoint(aliases)


def must(node: ast.expr | None) -> ast.expr:
    """Every parameter and result of a verb has its type: strict checking holds that."""
    if node is None:
        raise TypeError("A verb lacks a type.")
    return node
