"""The shortest way to one run: a flow that needs nothing of this home runs without being looked at
here first. The child, which has to load it anyway, says whether it is such a flow.

Nothing heavy is imported: a cold `phoundry flow test` is Python starting twice and little else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from phoundry.flows.errors import FlowError, SessionCrash, SessionTimeout

if TYPE_CHECKING:
    from pathlib import Path

    from phoundry.flows.model import Flow

Spans = list[dict[str, Any]]
# Words of a tool that may ask for a connection, or for another flow, by name while it runs.
ASKING = ("onnection", "PFClient", "rompty", "load_flow", "onfiguration")


def run_alone(
    path: Path,
    inputs: Mapping[str, Any],
    *,
    timeout: float = 600,
    keep: Callable[[Spans, str], Any] | None = None,
) -> tuple[dict[str, Any], str] | None:
    """The result of one run of the flow in `path`, with the fields of `specs.flow.FlowResult`, and
    what the flow printed.

    None where `FlowSession` is needed: the flow takes connections, needs an environment of its own,
    is no plain DAG, or is faulty. Nothing of it has run then. `keep` gets what was
    recorded, and the flow's folder.
    """
    from phoundry.flows.session.process import ChildProcess

    folder = path if path.is_dir() else path.parent
    if not path.exists() or _requires(folder / "requirements.txt"):
        return None
    folder = folder.resolve()
    child = ChildProcess(folder)
    try:
        deadline = time.monotonic() + timeout
        child.say(_opening(path.resolve(), traced=keep is not None))
        child.say({"op": "run", "inputs": dict(inputs), "stream": None})
        while True:
            answer = child.hear(deadline, timeout)
            match answer["event"]:
                case "declined":
                    return None
                case "failed":
                    return _failed(answer["error"]), child.log()
                case "result":
                    if keep is not None and answer.get("spans"):
                        keep(answer["spans"], str(folder))
                    return answer["result"], child.log()
                case _:
                    pass
    except (SessionTimeout, SessionCrash) as error:
        return _failed(error.to_dict()), ""  # the error tells the last that was printed
    finally:
        child.close()


def _requires(file: Path) -> bool:
    if not file.exists():
        return False
    from phoundry.flows.environments.requirements import asks_for_more

    try:
        return asks_for_more(file)
    except FlowError:
        return True  # the long way says what is wrong with it


def _opening(path: Path, *, traced: bool) -> dict[str, Any]:
    from phoundry.flows.session.memory import memory_of_machine

    return {
        "op": "open",
        "alone": True,
        "path": str(path),
        "variant": None,
        "chosen": {},
        "values": {},
        "overrides": {},
        "memory_limit": memory_of_machine(),
        "trace": traced,
    }


def _failed(error: dict[str, Any]) -> dict[str, Any]:
    return {"status": "Failed", "output": None, "nodes": {}, "metrics": {}, "error": error}


def stands_alone(flow: Flow) -> bool:
    """Whether a run of `flow` needs nothing but the flow, as far as can be told for certain."""
    from phoundry.flows.environment import connection_names
    from phoundry.flows.session.written import written_secrets

    if flow.kind != "dag" or connection_names(flow.environment_variables):
        return False
    for node in flow.nodes:
        if node.type not in ("python", "prompt") or node.source is None:
            return False
        file = flow.locate(node.source.path) if node.source.path else None
        if node.source.type != "code" or file is None:
            return False
        if node.type == "python" and _asks(flow, node.name, os.fspath(file)):
            return False
    return not written_secrets(flow.file)  # a result is shown here as it comes


def _asks(flow: Flow, node: str, file: str) -> bool:
    signature = flow.signatures.get(node)
    if signature is None or any(item.connections for item in signature.parameters.values()):
        return True
    with open(file, encoding="utf-8", errors="replace") as source:  # noqa: PTH123 - a path's text
        text = source.read()
    return any(word in text for word in ASKING)
