"""Prompt flow's Python API for scripts and notebooks: `from promptflow.client import PFClient`.

A flow's own code gets these names while it runs, and reaches no further than the flow. A script is
its user's: its `PFClient` has the whole home. Two ways to run one unchanged:

    python -m phoundry.promptflow evaluate.py --its --own --arguments

    import phoundry.promptflow      # in a notebook, before the first `import promptflow`
    phoundry.promptflow.install()
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

__all__ = ["install", "provided"]

_HERE = "phoundry.promptflow."
_CLIENT = {"PFClient": f"{_HERE}client:PFClient", "load_run": f"{_HERE}runs:load_run"}
_ENTITIES = {"Run": f"{_HERE}runs:Run"}
_ERRORS = ("RunNotFoundError", "RunExistsError", "ConnectionNotFoundError", "InvalidRunStatusError")
# Over the names that flows get, see `flows.provided.names`.
NAMES = {
    "promptflow": _CLIENT,
    "promptflow.client": _CLIENT,
    "promptflow.entities": _ENTITIES,
    "promptflow._sdk.entities": _ENTITIES,
    "promptflow._sdk._pf_client": _CLIENT,
    "promptflow._sdk._load_functions": {"load_run": f"{_HERE}runs:load_run"},
    "promptflow._sdk._errors": {name: f"{_HERE}errors:{name}" for name in _ERRORS},
    "promptflow._sdk._constants": {"ListViewType": f"{_HERE}runs:ListViewType"},
}


@contextmanager
def provided() -> Generator[None]:
    """The `promptflow` names for the length of the block, with this home behind them."""
    from phoundry.client import Client
    from phoundry.flows.provided.at_hand import reaching
    from phoundry.flows.provided.finder import import_names

    with import_names(more=NAMES), reaching(Client().connections):
        yield


_installed: list[ExitStack] = []


def install() -> None:
    """Provide the names from here on, to the end of this process; twice is once."""
    if not _installed:
        stack = ExitStack()
        stack.enter_context(provided())
        _installed.append(stack)
