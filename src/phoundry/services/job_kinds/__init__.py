"""What jobs of each type have of their own; everything else holds for all of them.

A new type of job is a module here with a class of `base.JobKind`, a line in `KINDS`, a spec in
`specs/` and a worker.
"""

from __future__ import annotations

from phoundry.services.job_kinds.base import Admitted, JobKind, output
from phoundry.services.job_kinds.batch import Batch
from phoundry.services.job_kinds.finetuning import FineTuning
from phoundry.store.tables import JobRow

__all__ = ["KINDS", "Admitted", "JobKind", "kind_of", "output"]

KINDS: dict[str, JobKind] = {"finetuning": FineTuning(), "batch": Batch()}


def kind_of(row: JobRow) -> JobKind:
    return KINDS[row.type]
