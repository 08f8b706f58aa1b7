"""One verb: the lines of its asynchronous form."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from phoundry.client.generate.reading import Module, arguments, calls_back, must

WIDTH = 100
# What a verb returns that has verbs of its own -> the hand-written class, and its module.
WRAPPED = {
    "EndpointChat": ("AsyncEndpointChat", "chat"),
    "FlowChat": ("AsyncFlowChat", "flow_chat"),
    "FlowSession": ("AsyncFlowSession", "flow_chat"),
}
LENT = ("FlowChat", "FlowSession")  # these keep a client for themselves until they are closed
WAITS = ("wait",)  # they may last for hours, and take no place from others
# A callback that tells is run in the event loop; one that answers, too, and is waited for.
TELLS = "on_"


def verb(
    module: Module, method: ast.FunctionDef, place: str, aliases: dict[str, ast.expr]
) -> Iterator[str]:
    """The lines of one verb."""
    returns = ast.unparse(must(method.returns))
    shape = shape_of(method, returns)
    called = {each.arg: each for each in arguments(method) if calls_back(each, aliases)}
    tail = f") -> {shape.returns}:"
    yield from wrapped(f"{shape.start} {method.name}(", parameters(module, method, aliases), tail)
    yield from docstring(module, method)
    for name in called:
        how = "told" if name.startswith(TELLS) else "asked"
        module.needed.add(("phoundry.client.aio.threads", how))
        yield f"        {name}_ = {how}({name})"
    call = f"lambda client: {place}.{method.name}("
    rest = passed(method, called)
    last = ", counted=False" if method.name in WAITS else ""
    module.want(ast.parse(shape.returns, mode="eval"))
    if shape.wrapper is not None:
        name, source = shape.wrapper
        module.needed.add((f"phoundry.client.aio.{source}", name))
        star = "*" if returns in LENT else ""
        yield from run_lines(f"        found = {shape.run}(", call, rest, "")
        yield f"        return {name}({star}found)"
    else:
        yield from run_lines(f"        return {shape.run}(", call, rest, last)


def run_lines(head: str, call: str, rest: Sequence[str], last: str) -> Iterator[str]:
    """The call of the runner with its lambda, on one line or on several."""
    line = f"{head}{call}{', '.join(rest)}){last})"
    if len(line) <= WIDTH:
        yield line
        return
    yield head
    yield from wrapped(f"    {call}", rest, ")" + (last and ","), indent=8)
    if last:
        yield f"            {last[2:]},"
    yield "        )"


@dataclass(frozen=True)
class Shape:
    """How a verb looks: `def` or `async def`, what it returns, and what of the runner runs it."""

    start: str
    returns: str
    run: str
    wrapper: tuple[str, str] | None = None


def shape_of(method: ast.FunctionDef, returns: str) -> Shape:
    inner = returns.partition("[")[2]
    if any(ast.unparse(each) == "contextmanager" for each in method.decorator_list):
        kind = f"AbstractAsyncContextManager[Async{inner}"
        return Shape("    def", kind, "self._runner.opened")
    if returns.startswith("Iterator["):
        return Shape("    def", f"AsyncGenerator[{inner}", "self._runner.iterate")
    if returns in WRAPPED:
        run = "await self._runner." + ("lend" if returns in LENT else "call")
        return Shape("    async def", WRAPPED[returns][0], run, WRAPPED[returns])
    return Shape("    async def", returns, "await self._runner.call")


def parameters(module: Module, method: ast.FunctionDef, aliases: dict[str, ast.expr]) -> list[str]:
    """The parameters as they are written; what a callback returns may be awaited."""
    found: list[str] = ["self"]
    known = method.args
    defaults = [None] * (len(known.args) - len(known.defaults)) + list(known.defaults)
    for each, default in zip(known.args[1:], defaults[1:], strict=True):
        found.append(parameter(module, each, default, aliases))
    if known.vararg:
        found.append("*" + parameter(module, known.vararg, None, aliases))
    elif known.kwonlyargs:
        found.append("*")
    for each, default in zip(known.kwonlyargs, known.kw_defaults, strict=True):
        found.append(parameter(module, each, default, aliases))
    return found


def parameter(
    module: Module, each: ast.arg, default: ast.expr | None, aliases: dict[str, ast.expr]
) -> str:
    kind = Awaiting(aliases).visit(ast.parse(ast.unparse(must(each.annotation)), mode="eval"))
    module.want(kind)
    value = "" if default is None else f" = {literal(default)}"
    return f"{each.arg}: {ast.unparse(kind)}{value}"


def literal(value: ast.expr) -> str:
    text = ast.unparse(value)
    return text.replace("'", '"') if text.startswith("'") else text


class Awaiting(ast.NodeTransformer):
    """`Callable[[X], Y]`, also under another name, to `Callable[[X], Awaitable[Y] | Y]`."""

    def __init__(self, aliases: dict[str, ast.expr]) -> None:
        self._aliases = aliases

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._aliases:
            return node
        return self.visit(ast.parse(ast.unparse(self._aliases[node.id]), mode="eval").body)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if ast.unparse(node.value) != "Callable" or not isinstance(node.slice, ast.Tuple):
            return node
        given, answer = (ast.unparse(each) for each in node.slice.elts)
        text = f"Callable[{given}, Awaitable[{answer}] | {answer}]"
        return ast.parse(text, mode="eval").body


def passed(method: ast.FunctionDef, called: Collection[str]) -> list[str]:
    """The arguments of the synchronous call."""

    def name(each: ast.arg) -> str:
        return f"{each.arg}_" if each.arg in called else each.arg

    found = [name(each) for each in method.args.args[1:]]
    if method.args.vararg:
        found.append(f"*{method.args.vararg.arg}")
    return found + [f"{each.arg}={name(each)}" for each in method.args.kwonlyargs]


def docstring(module: Module, method: ast.FunctionDef) -> list[str]:
    """As it stands in the source."""
    if ast.get_docstring(method) is None:
        return []
    node = method.body[0]
    lines = module.path.read_text(encoding="utf-8").splitlines()
    return lines[node.lineno - 1 : node.end_lineno]


def wrapped(head: str, items: Sequence[str], tail: str, *, indent: int = 0) -> list[str]:
    """A call or a signature, broken where it is too long, as ruff breaks it."""
    head = " " * indent + head
    line = f"{head}{', '.join(items)}{tail}"
    if len(line) <= WIDTH:
        return [line]
    margin = " " * (len(head) - len(head.lstrip()))
    line = f"{margin}    {', '.join(items)}"
    if len(line) <= WIDTH:
        return [head, line, margin + tail]
    return [head, *(f"{margin}    {each}," for each in items), margin + tail]
