"""`PFClient` of a script: flows run in processes of their own, runs are kept in this home."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.errors import NotFound, UsageError
from phoundry.flows.errors import NotSupported
from phoundry.promptflow.connections import ConnectionOperations
from phoundry.promptflow.runs import MOST_DETAILS, Run, RunOperations


class PFClient:
    """Prompt flow's client over the home that PHOUNDRY_HOME names."""

    def __init__(self, **_: Any) -> None:
        from phoundry.client import Client

        self._home = Client()
        self.runs = RunOperations(self._home)
        self.connections = ConnectionOperations(self._home)

    def run(
        self,
        flow: Any = None,
        *,
        data: str | Path | None = None,
        run: str | Run | None = None,
        column_mapping: Mapping[str, Any] | None = None,
        variant: str | None = None,
        connections: Mapping[str, Any] | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        name: str | None = None,
        display_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume_from: str | Run | None = None,
        init: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Run:
        """Run the flow over every line of `data`, of another `run`, or of both; to its end.

        Raises:
            FileNotFoundError: there is no `data`.
            RunExistsError, RunNotFoundError: the name is taken; there is no `run`.
            NotSupported: `flow` is a function.
            FlowError, UsageError: what else is wrong before the first line.
        """
        from phoundry.client.checking import checked
        from phoundry.specs.flow_run import FlowRunSpec

        if data is not None and not Path(data).exists() and ":" not in str(data):
            raise FileNotFoundError(f"data path {data} does not exist")
        earlier = self.runs.get(resume_from) if resume_from is not None else None
        if flow is None and earlier is not None:
            flow = earlier.flow
        given: dict[str, Any] = {
            "flow": str(_path(flow)),
            "data": str(data) if data is not None else None,
            "run": self.runs.get(run).name if run is not None else None,
            "column_mapping": dict(column_mapping or {}),
            "variant": variant,
            "connections": dict(connections or {}),
            "environment_variables": dict(environment_variables or {}),
            "name": name,
            "display_name": display_name or "",
            "description": more.pop("description", None) or "",
            "tags": dict(tags or {}),
            "resume_from": earlier.name if earlier else None,
            "init": dict(init or {}),
        }
        stream = bool(more.pop("stream", False))
        _tell_ignored(more)
        return self.runs.create_or_update(checked(FlowRunSpec, given, "The run"), stream=stream)

    def test(
        self,
        flow: Any,
        *,
        inputs: Mapping[str, Any] | str | Path | None = None,
        variant: str | None = None,
        node: str | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        init: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        """The outputs of one run of `flow`, or of its `node` alone; a prompty's answer.

        Raises:
            NotFound, FlowError: no such flow; it does not load, or it failed.
        """
        _tell_ignored(more)
        values = _inputs(inputs)
        if callable(flow):
            return flow(**values)
        path = _path(flow)
        opened = self._home.flows.session(
            path, variant=variant, init=init, environment=environment_variables
        )
        with opened as session:
            result = session.run(values, variant=variant, node=node)
            self._home.flows.keep_connections(session)
            if log := session.log().rstrip():
                print(log, file=sys.stderr)  # noqa: T201 - what the flow printed
        if result.status == "Failed":
            from phoundry.flows.session.opening import as_error

            raise as_error(result.error or {})
        output = result.output or {}
        alone = node is not None or path.suffix == ".prompty"
        return output["output"] if alone and output.keys() == {"output"} else output

    def stream(self, run: str | Run, raise_on_error: bool = True) -> Run:
        """As `runs.stream`."""
        return self.runs.stream(run, raise_on_error)

    def get_details(
        self, run: str | Run, max_results: int = MOST_DETAILS, all_results: bool = False
    ) -> Any:
        """As `runs.get_details`."""
        return self.runs.get_details(run, max_results, all_results)

    def get_metrics(self, run: str | Run) -> dict[str, Any]:
        """As `runs.get_metrics`."""
        return self.runs.get_metrics(run)

    def visualize(self, runs: Any, **more: Any) -> None:
        """As `runs.visualize`."""
        self.runs.visualize(runs, **more)

    @property
    def flows(self) -> PFClient:
        """`client.flows.test(…)` is `client.test(…)`."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name in ("traces", "tools"):
            raise NotSupported(
                f"PFClient().{name} is not provided.",
                remedy="Use the command: "
                + ("phoundry trace list" if name == "traces" else "phoundry pf tool list"),
            )
        raise AttributeError(f"PFClient has no '{name}'.")


def _path(flow: Any) -> Path:
    if callable(flow):
        raise NotSupported(
            "A function is not run over data from here.",
            remedy="Write a flow.flex.yaml beside it, and give its folder as `flow`: "
            "phoundry pf flow save --entry MODULE:FUNCTION",
        )
    if not isinstance(flow, str | Path):
        raise UsageError(
            f"`flow` is the path of a flow's folder or file, not {type(flow).__name__}.",
            remedy="client.run(flow='my-flow', data='data.jsonl')",
        )
    path = Path(flow)
    if not path.exists() and ":" in str(flow):
        raise NotSupported(
            f"{flow} names a function, which is not run over data from here.",
            remedy="Write a flow.flex.yaml, and give its folder: "
            f"phoundry pf flow save --entry {flow}",
        )
    return path


def _inputs(given: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    """The inputs, or those in a JSON file, or in the first line of a JSONL file."""
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    path = Path(given)
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", remedy="Give a mapping, or a JSON file.")
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)
    except (ValueError, IndexError) as error:
        raise UsageError(f"{path} is no JSON: {error}.") from None
    if isinstance(found, list) and found:
        found = found[0]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(found, dict):
        raise UsageError(f"{path} has no inputs by name.", remedy='Write {"name": value, …}.')
    return found  # pyright: ignore[reportUnknownVariableType]


def _tell_ignored(more: Mapping[str, Any]) -> None:
    if more:
        names = ", ".join(sorted(more))
        print(f"Taken without effect here: {names}.", file=sys.stderr)  # noqa: T201
