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
        spans = list(record.spans)  # a thread that outlives the run may still add some
        return outcome, as_text([span.to_dict() for span in spans], self.secrets)


def guarded(run: Callable[[], Outcome]) -> Outcome:
    try:
        return run()
    except FlowError as error:
        return Outcome(None, {}, error=error)
    except MemoryError:
        return Outcome(None, {}, error=FlowUserError("The flow ran out of memory."))
    except BaseException as error:  # noqa: BLE001 - the process boundary: reported, never swallowed
        # A tool's KeyboardInterrupt, too: Ctrl-C never comes here.
        import traceback

        traceback.print_exc()
        return unexpected(error)


def unexpected(error: BaseException) -> Outcome:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - of the user's own class
        text = "its text can't be made"
    return Outcome(None, {}, error=UnexpectedError(f"{type(error).__name__}: {text}"))
