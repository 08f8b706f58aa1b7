"""A flow as it was read: plain, immutable, with the line of every part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phoundry.flows.extensions.model import NONE, Extensions
from phoundry.flows.reference import NodeReference, Reference
from phoundry.flows.signature import Signature

if TYPE_CHECKING:
    from phoundry.flows.connections import ConnectionResolver
    from phoundry.flows.library import FlowFunction

Kind = Literal["dag", "flex", "prompty"]
NODE_TYPES = ("llm", "python", "prompt", "custom_llm", "csharp", "action", "flow")
MESSAGE_FORMATS = ("basic", "openai-vision")


@dataclass(frozen=True, slots=True)
class FlowInput:
    type: str
    default: Any = None
    description: str = ""
    is_chat_input: bool = False
    is_chat_history: bool = False
    line: int = 0
    message_format: str = "basic"  # how an image in it is written; one of `MESSAGE_FORMATS`
    optional: bool = False  # the code has a default of its own, such as None: it may be left out

    @property
    def required(self) -> bool:
        return self.default is None and not self.optional


@dataclass(frozen=True, slots=True)
class FlowOutput:
    type: str
    reference: Reference
    description: str = ""
    is_chat_output: bool = False
    evaluation_only: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """`code` with a path inside the flow's folder, `package` with a tool's id, or
    `package_with_prompt` with both."""

    type: str
    path: str | None = None
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Activate:
    when: Reference
    value: Any


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    type: str | None
    source: Source | None
    inputs: Mapping[str, Reference]
    activate: Activate | None = None
    aggregation: bool = False
    connection: str | None = None
    api: str | None = None
    line: int = 0
    extensions: Extensions = NONE

    @property
    def dependencies(self) -> set[str]:
        """Names of the nodes that must be done before this one is looked at."""
        references = [*self.inputs.values(), *([self.activate.when] if self.activate else [])]
        references += self.extensions.references()
        found = {item.node for item in references if isinstance(item, NodeReference)}
        return found | self.extensions.after


@dataclass(frozen=True, slots=True)
class Flow:
    """Calling it runs it in this process: `load_flow(path)(question="…")` gives the outputs, and
    `await load_flow(path).acall(question="…")` does, too; see `phoundry.flows.library`."""

    root: Path
    file: Path
    inputs: Mapping[str, FlowInput]
    outputs: Mapping[str, FlowOutput]
    nodes: tuple[Node, ...]
    environment_variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    additional_includes: tuple[str, ...] = ()
    # By node; a node whose file shows no `@tool` without running it has none.
    signatures: Mapping[str, Signature] = field(default_factory=dict[str, Signature])
    # How images are written in inputs and outputs; one of `MESSAGE_FORMATS`.
    message_format: str = "basic"
    kind: Kind = "dag"
    # What a flex flow's or a prompty's own loader read; nobody else looks into it.
    definition: Any = None

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        """Run with `inputs` in this process; the outputs.

        Raises:
            FlowError: the flow does not load or a node fails.
        """
        return self._function()(**inputs)

    async def acall(self, **inputs: Any) -> dict[str, Any]:
        """The same, awaited: the run has a thread of its own, and the event loop goes on."""
        return await self._function().acall(**inputs)

    def using(
        self,
        connections: ConnectionResolver | Mapping[str, Mapping[str, Any]],
        overrides: Mapping[str, str] | None = None,
        init: Mapping[str, Any] | None = None,
    ) -> FlowFunction:
        """This flow as a function with connections, whose tools are imported once::

            ask = flow.using({"faq": {"api_base": "http://…/v1", "key": "${env:FAQ_KEY}"}})
            ask(question="…")
            await ask.acall(question="…")

        Args:
            connections: `{name: values}` with the keys of Prompt flow's connection YAML, `type`
                (`custom` unless given) among them; `${env:VAR}` is a variable of this process. Or
                whatever finds connections, such as `Client().connections`.
            overrides: `node.input` to a connection's name; `node.model` to a model.
            init: the arguments of a flex flow's class.

        Raises:
            NotFound, Conflict, UsageError: a connection is missing or must be chosen.
            InvalidInput: values that no connection has.
        """
        from phoundry.flows.library import bound

        return bound(self, connections, overrides, init)

    def _function(self) -> FlowFunction:
        from phoundry.flows.library import FlowFunction
        from phoundry.flows.prepare import Connections

        return FlowFunction(self, Connections())

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def locate(self, path: str) -> Path | None:
        """The file `path` names: an included one, else in the flow's folder.

        Neither `..` nor a link leads out of the folder and the includes: whoever reads the list of
        includes of a flow that came from elsewhere knows every file that it reads in.
        """
        for include in self.additional_includes:
            shared = self.root / include
            target = shared.parent / path
            if Path(path).parts[:1] == (Path(include).name,) and _within(target, shared):
                return target
        return self.root / path if _within(self.root / path, self.root) else None

    def where(self, line: int) -> str:
        """`flow.dag.yaml:12`, for messages."""
        return f"{self.file.name}:{line}" if line else self.file.name


def _within(file: Path, place: Path) -> bool:
    """Whether `file` is a file in `place`, or is `place` itself."""
    try:
        return file.is_file() and file.resolve().is_relative_to(place.resolve())
    except (OSError, ValueError):  # a name that no file can have
        return False
