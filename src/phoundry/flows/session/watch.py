"""Running a piece of a flow so that it can only end in an outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from phoundry.flows.errors import FlowError, FlowUserError, UnexpectedError
from phoundry.flows.runner import Outcome
from phoundry.flows.session.plain import as_text
from phoundry.flows.spans import recording


@dataclass(frozen=True, slots=True)
class Watch:
    """`traced`: whether what happens is recorded; `secrets` are hidden in the record."""

    traced: bool = False
    secrets: Sequence[str] = ()

    def run(self, run: Callable[[], Outcome]) -> tuple[Outcome, list[dict[str, Any]]]:
        """The outcome of `run()`, whatever happens, and its spans."""
        if not self.traced:
            return guarded(run), []
        with recording() as record:
            outcome = guarded(run)
        return outcome, as_text([span.to_dict() for span in record.spans], self.secrets)


def guarded(run: Callable[[], Outcome]) -> Outcome:
    try:
        return run()
    except FlowError as error:
        return Outcome(None, {}, error=error)
    except MemoryError:
        return Outcome(None, {}, error=FlowUserError("The flow ran out of memory."))
    except Exception as error:  # noqa: BLE001 - the process boundary: reported, never swallowed
        import traceback

        traceback.print_exc()
        fault = UnexpectedError(f"{type(error).__name__}: {error}")
        return Outcome(None, {}, error=fault)
