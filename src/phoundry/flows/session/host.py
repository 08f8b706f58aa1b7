"""`FlowSession`: a flow that runs in a process of its own, warm for as many runs as are asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from phoundry.flows.chat import streamed_output
from phoundry.flows.connections import ConnectionResolver, resolved
from phoundry.flows.errors import FlowError, SessionCrash, SessionTimeout
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow
from phoundry.flows.session.opening import opening, secrets_of
from phoundry.flows.session.process import ChildProcess
from phoundry.flows.session.redact import redact
from phoundry.specs.flow import FlowResult, FlowSettings


class FlowSession:
    """Runs of the flow in `path` (or of one already loaded), in a child process with limits.

    `settings` are choices remembered for the flow; `timeout` is the wall time of one run in
    seconds; `memory_limit` bounds the child's address space in bytes (None: what this machine has,
    so that a runaway tool ends with its own error and not with somebody else's). `init` are the
    arguments of a flex flow's class, `environment` variables over the flow's own.
    `keep`, when given, gets what every run recorded, as `spans.Span.to_dict` writes it, secrets
    hidden. `python` is the child's interpreter. After a run, `connections` holds what was chosen,
    for the caller to remember.

    Raises (when made):
        NotFound: no flow there.
        FlowError: the flow does not hold; every fault is in it.
    """

    def __init__(
        self,
        path: Path | str | Flow,
        *,
        connections: ConnectionResolver,
        settings: FlowSettings | None = None,
        timeout: float = 600,
        memory_limit: int | None = None,
        init: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        keep: Callable[[list[dict[str, Any]]], Any] | None = None,
        python: str | None = None,
    ) -> None:
        self._environment = dict(environment or {})
        self.flow = self._with_environment(path if isinstance(path, Flow) else load_flow(path))
        self.settings = settings or FlowSettings(path=str(self.flow.root))
        self.timeout = timeout
        self.memory_limit = memory_limit
        self.connections: dict[str, str] = {}
        self._init, self._keep, self._python = init, keep, python
        self._resolver = connections
        self._child: ChildProcess | None = None
        self._opened: dict[str, Any] | None = None
        self._secrets: list[str] = []
        self._turn = 0  # of the request that is answered now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child process; the next run would start another."""
        child, self._child, self._opened = self._child, None, None
        if child is not None:
            child.close()

    def log(self) -> str:
        """What the flow's code printed and logged so far, secrets hidden."""
        return redact(self._child.log(), self._secrets) if self._child else ""

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        overrides: Mapping[str, str] | None = None,
        variant: str | None = None,
        node: str | None = None,
    ) -> FlowResult:
        """One run, or one of `node` alone. A flow that fails, hangs or dies is a result with
        status Failed.

        Raises:
            NotFound, Conflict, UsageError: a connection is missing or must be chosen.
        """
        for answer in self._answers(inputs, overrides or {}, variant, stream=None, node=node):
            if isinstance(answer, FlowResult):
                return answer
        raise SessionCrash("The session gave no result.")

    def stream(
        self,
        inputs: Mapping[str, Any],
        *,
        overrides: Mapping[str, str] | None = None,
        variant: str | None = None,
    ) -> Iterator[str | FlowResult]:
        """The text of the chat output in pieces as they come, then the result.

        An output that does not stream comes as one piece. Closing the iterator early ends the
        child, because a half-run flow can't be taken up again.

        Raises:
            NotFound, Conflict, UsageError: a connection is missing or must be chosen.
        """
        output = streamed_output(self.flow, self.settings)
        sent = finished = False
        try:
            for answer in self._answers(inputs, overrides or {}, variant, stream=output):
                if isinstance(answer, FlowResult):
                    finished = True
                    text = (answer.output or {}).get(output) if output else None
                    if text is not None and not sent:
                        yield text if isinstance(text, str) else str(text)
                else:
                    sent = True
                yield answer
        finally:
            if not finished:
                self.close()

    def _answers(
        self,
        inputs: Mapping[str, Any],
        overrides: Mapping[str, str],
        variant: str | None,
        *,
        stream: str | None,
        node: str | None = None,
    ) -> Iterator[str | FlowResult]:
        deadline = time.monotonic() + self.timeout
        self._started()  # it imports what it needs while connections are looked up here
        first = self._opening(overrides, variant)
        request = {"op": "run", "inputs": dict(inputs), "stream": stream, "node": node}
        try:
            child = self._ready(first, deadline)
            self._say(child, request)
            while True:
                answer = self._hear(child, deadline)
                if answer["event"] == "piece":
                    yield answer["text"]
                    continue
                yield self._result(answer)
                return
        except (SessionTimeout, SessionCrash) as error:
            self.close()
            yield self._failed(error.to_dict())
        except _Refused as refused:
            yield self._failed(refused.error)
        except KeyboardInterrupt:
            self.close()
            raise

    def _opening(self, overrides: Mapping[str, str], variant: str | None) -> dict[str, Any]:
        """What the child is opened with; the same opening keeps it as it is."""
        flow = self.flow
        if variant is not None:
            flow = self._with_environment(load_flow(flow.file, variant=variant))
        found = resolved(flow, self._resolver, self.settings.connections, overrides, self._init)
        self.connections = dict(found.chosen)
        self._secrets = secrets_of(found, flow, self._environment, self._init)
        return opening(
            flow,
            found,
            variant=variant,
            init=self._init,
            environment=self._environment,
            memory_limit=self.memory_limit,
            traced=self._keep is not None,
        )

    def _with_environment(self, flow: Flow) -> Flow:
        variables = {**flow.environment_variables, **self._environment}
        return replace(flow, environment_variables=variables)

    def _started(self) -> ChildProcess:
        if self._child is None or not self._child.alive:
            self.close()
            self._child = ChildProcess(self.flow.root, python=self._python)
        return self._child

    def _ready(self, first: dict[str, Any], deadline: float) -> ChildProcess:
        child = self._started()
        if first != self._opened:
            self._opened = first
            child.secrets.update(self._secrets)
            self._say(child, first)
            answer = self._hear(child, deadline)
            if answer["event"] != "ready":
                self._opened = None
                raise _Refused(answer["error"])
        return child

    def _say(self, child: ChildProcess, request: dict[str, Any]) -> None:
        self._turn += 1
        child.say({**request, "turn": self._turn})

    def _hear(self, child: ChildProcess, deadline: float) -> dict[str, Any]:
        """The next answer to what was said last. There may be others: a tool that forks answers
        twice, and a thread may go on streaming."""
        while True:
            answer = child.hear(deadline, self.timeout)
            if answer.get("turn") == self._turn:
                return answer

    def _result(self, answer: dict[str, Any]) -> FlowResult:
        if answer["event"] == "failed":
            return self._failed(answer["error"])
        if self._keep is not None and answer.get("spans"):
            self._keep(redact(answer["spans"], self._secrets))
        result = answer["result"]
        if result["error"]:
            result["error"] = redact(result["error"], self._secrets)
        return FlowResult.model_validate(result)

    def _failed(self, error: dict[str, Any]) -> FlowResult:
        return FlowResult(status="Failed", error=redact(error, self._secrets))


class _Refused(Exception):
    """The child could not open the flow; `error` is the fault as it reported it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error.get("message"))
        self.error = error


def failure(error: FlowError) -> FlowResult:
    """The result that stands for a flow that could not be loaded."""
    return FlowResult(status="Failed", error=error.to_dict())
