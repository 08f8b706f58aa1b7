"""`run create --source DIR`: a run that Prompt flow made, kept among those of this home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phoundry.cli.flow_run_options import described
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.specs.flow_run import FlowRun


def taken_in(
    source: str, name: str | None, settings: Sequence[str] | None, others: Sequence[str]
) -> FlowRun:
    """The run in the folder `source`, kept; `settings` are the `--set` words.

    Raises:
        UsageError: `others`, options that say what is to be run, or another `--set` word.
        NotFound, InvalidInput, Conflict: no run there, a faulty one, or one of this name is here.
    """
    from phoundry.client import Client

    if others:
        words = ", ".join(f"--{each.replace('_', '-')}" for each in others)
        raise UsageError(
            f"--source keeps a run as it was; {words} would be for a new one.",
            remedy="Give --source alone, or with --name and --set.",
        )
    plain, tags = described(settings)
    runs = Client().runs
    run = runs.take_in(source, name=name)
    if not plain and not tags:
        return run
    return runs.update(run.name, **plain, tags={**run.tags, **tags} if tags else None)
