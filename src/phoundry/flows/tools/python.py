"""Python tools: the user's file, imported in the process that runs the flow."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from phoundry.flows.errors import (
    BadFunctionInterface,
    FlowError,
    InputTypeMismatch,
    MissingRequiredInputs,
    NoToolDefined,
    PythonLoadError,
    ToolExecutionError,
    ToolExit,
    ToolExitAtLoad,
    ToolLoadError,
)
from phoundry.flows.includes import running_file
from phoundry.flows.inspection import read_file, two_tools
from phoundry.flows.model import Flow, Node
from phoundry.flows.provided.core import TOOL_MARK, ToolProvider
from phoundry.flows.signature import Signature, read_source
from phoundry.flows.streams import joined, joined_later
from phoundry.flows.tools.kinds import with_kinds
from phoundry.flows.workers import loop

Tool = Callable[..., Any]
MAIN_NAME = "__pf_main__"
# Results that are neither awaited nor joined: most of them, and told by one look.
WHOLE = frozenset({str, int, float, bool, dict, list, tuple, type(None)})


def load_tool(flow: Flow, node: Node) -> tuple[Tool, Signature, ModuleType]:
    """The one `@tool` of the node's file, its signature and its module.

    Raises:
        InvalidSource: no such file.
        PythonLoadError: importing it failed.
        NoToolDefined, MultipleToolsDefined: not exactly one tool in it.
    """
    file, _ = read_file(flow, node)
    module = _import(running_file(flow, Path(file)))
    found = [*_functions(module), *_methods(module)]
    if not found:
        raise NoToolDefined(
            "No tool found in the python script. Please make sure you have one and only one tool "
            "definition in your script.",
            remedy="Put `@tool` (from promptflow.core import tool) above its function.",
        )
    if len(found) > 1:
        raise two_tools([item.__name__ for item in found])
    function = found[0]
    signature = flow.signatures.get(node.name) or _signature(function)
    return function, with_kinds(signature, *_callables(function)), module


def _callables(tool: Tool) -> list[Callable[..., Any]]:
    """What takes the arguments of `tool`: of a method, its class does, too."""
    return tool.callables if isinstance(tool, Method) else [tool]


def _functions(module: ModuleType) -> list[Tool]:
    return [
        item
        for item in vars(module).values()
        if inspect.isfunction(item)
        and hasattr(item, TOOL_MARK)
        and item.__module__ == module.__name__
    ]


def _methods(module: ModuleType) -> list[Method]:
    """`@tool` methods of the module's ToolProvider classes, as functions of all arguments."""
    providers = [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, ToolProvider)
        and item.__module__ == module.__name__
    ]
    return [
        Method(provider, name)
        for provider in providers
        for name, method in vars(provider).items()
        if hasattr(method, TOOL_MARK)
    ]


class Method:
    """A tool method. `start` makes its object, of the node's literals that `__init__` takes."""

    def __init__(self, provider: type[Any], name: str) -> None:
        self.__name__ = name
        self.__signature__ = inspect.signature(getattr(provider, name))
        self._provider, self._object = provider, None
        self._start = {
            key: item.default is item.empty
            for key, item in inspect.signature(provider).parameters.items()
            if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
        }

    @property
    def callables(self) -> list[Callable[..., Any]]:
        """The class, which takes arguments when it is made, and its method."""
        return [self._provider, getattr(self._provider, self.__name__)]

    def start(self, references: Collection[str], constants: dict[str, Any]) -> None:
        """Make the object, taking its arguments out of `constants`.

        Raises:
            BadFunctionInterface: the method has a parameter of the same name as `__init__`.
            InputTypeMismatch: an argument is a reference; the object is there before any run.
            MissingRequiredInputs: an argument without default is not given.
            ToolLoadError: `__init__` raised.
        """
        own = inspect.signature(getattr(self._provider, self.__name__)).parameters
        if both := sorted(self._start.keys() & own.keys()):
            raise BadFunctionInterface(
                f"Parse interface for tool '{self.__name__}' failed: both it and `__init__` take "
                f"{', '.join(both)}.",
                remedy="Give one of them another name.",
            )
        for name in self._start:
            if name in references:
                raise InputTypeMismatch(
                    f"Invalid input for '{self.__name__}': Initialization input '{name}' requires "
                    "a literal value, but a reference was received.",
                    remedy=f"Take '{name}' as a parameter of the method instead.",
                )
        missing = [name for name, needed in self._start.items() if needed and name not in constants]
        if missing:
            raise MissingRequiredInputs(
                f"Required inputs {missing} are not provided for tool '{self.__name__}'."
            )
        given = {name: constants.pop(name) for name in self._start if name in constants}
        try:
            self._object = self._provider(**given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary to the user's code
            failed = tool_failed(self.__name__, error)
            raise ToolLoadError(
                f"Failed to load package tool '{self.__name__}': ({type(error).__name__}) "
                f"{_text(error)}",
                details=failed.details,
            ) from None

    def __call__(self, **arguments: Any) -> Any:
        return getattr(self._object, self.__name__)(**arguments)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool as a node calls it: an async answer is awaited, a generator's pieces are joined.

    Raises (when called):
        ToolExecutionError: the tool raised; `details` hold the traceback through the user's code.
    """

    node: str
    tool: Tool

    def __call__(self, arguments: dict[str, Any]) -> Any:
        try:
            result: Any = self.tool(**arguments)
            if type(result) in WHOLE:
                return result
            if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
                result = loop().run(self._settled(result))
            if isinstance(result, Iterator):
                return joined(self.node, map(str, cast(Iterator[Any], result)))
        except (FlowError, KeyboardInterrupt):
            raise  # of a flow that the tool runs, with its own codes; Ctrl-C of who called it
        except BaseException as error:  # noqa: BLE001 - the user's code
            raise tool_failed(self.node, error) from None
        return result

    @property
    def later(self) -> Callable[[dict[str, Any]], Coroutine[Any, Any, Any]] | None:
        """The call as a coroutine, for a tool that is one: it needs no thread of its own."""
        if inspect.iscoroutinefunction(self.tool) or inspect.isasyncgenfunction(self.tool):
            return self._later
        return None

    async def _later(self, arguments: dict[str, Any]) -> Any:
        import asyncio  # there already, where anything is awaited

        try:
            return await self._settled(self.tool(**arguments))
        except FlowError:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # its time is over
            raise tool_failed(self.node, error) from None
        except BaseException as error:  # noqa: BLE001 - the user's code; no Ctrl-C comes to this thread
            raise tool_failed(self.node, error) from None

    async def _settled(self, result: Any) -> Any:
        if isinstance(result, AsyncIterator):
            return await joined_later(self.node, cast(AsyncIterator[Any], result))
        found = await result
        if isinstance(found, AsyncIterator):
            return await joined_later(self.node, cast(AsyncIterator[Any], found))
        if isinstance(found, Iterator):
            return joined(self.node, map(str, cast(Iterator[Any], found)))
        return found


def tool_failed(node: str, error: BaseException) -> ToolExecutionError:
    """What a node's failure is told as; `details` lead through the user's code only."""
    kind = type(error).__name__
    text = _text(error)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not Path(frame.filename).is_relative_to(_OWN)
    ]
    last = frames[-1] if frames else None
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    details = {
        "type": kind,
        "message": text,
        "traceback": "".join([*lines, *traceback.format_exception_only(error)]),
        "filename": last.filename if last else None,
        "lineno": last.lineno if last else None,
        "name": last.name if last else None,
    }
    failed = ToolExit if isinstance(error, SystemExit) else ToolExecutionError
    return failed(f"Execution failure in '{node}': ({kind}) {text}", details=details)


def _text(error: BaseException) -> str:
    """The exception as text, even where its own `__str__` fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is the user's exception that can't be shown
        return f"<{type(error).__name__} whose text can't be made>"


_OWN = Path(__file__).parents[1]


def _import(file: Path) -> ModuleType:
    # Under its own name a `requests.py` of the flow would shadow the package that it imports; this
    # one is Prompt flow's, and scripts ask for it: `if __name__ == "__pf_main__"`.
    spec = importlib.util.spec_from_file_location(MAIN_NAME, file)
    if spec is None or spec.loader is None:
        raise PythonLoadError(f"Failed to load python module from file '{file}'.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and type hints look their module up; the second name outlives the next file.
    sys.modules[MAIN_NAME] = sys.modules[f"phoundry_flow_tool_{file.stem}"] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the boundary to the user's code
        failed = tool_failed(file.stem, error)
        kind = type(error).__name__
        refused = ToolExitAtLoad if isinstance(error, SystemExit) else PythonLoadError
        raise refused(
            f"Failed to load python module from file '{file}': ({kind}) {_text(error)}",
            details=failed.details,
        ) from None
    return module


def _signature(function: Tool) -> Signature:
    """Of a tool made at run time (`tool(function)`): from the function's own source."""
    try:
        text = inspect.getsource(function)
        tree = ast.parse(inspect.cleandoc("\n" + text))
        first = tree.body[0]
        if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef):
            first.decorator_list = [ast.Name("tool", ast.Load())]
            return read_source(ast.unparse(tree), "<tool>").tools[0]
    except (OSError, SyntaxError, TypeError):
        pass  # no source to be had: its inputs are taken as written
    return Signature(function.__name__, {}, takes_any=True)
