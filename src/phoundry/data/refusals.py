"""All rows that can't be used, counted by kind, and the one message about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from phoundry.data.row import RefusedRow
from phoundry.errors import Fault, InvalidInput

# Every bad row is counted; so many are kept with their line.
MAX_FAULTS = 10_000
# Of these one "row" stands for all that comes after it, and nobody knows how many that are.
_UNREADABLE = ("file damaged", "file cut")
EXAMPLE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'


@dataclass(slots=True)
class Refusals:
    """Add each `RefusedRow`, then `check` once. `allowed` is `--skip-bad`; None: not offered."""

    allowed: int | None = 0
    faults: list[Fault] = field(default_factory=list[Fault])
    counts: Counter[str] = field(default_factory=Counter[str])

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, row: RefusedRow) -> None:
        self.counts[row.kind] += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(row.where, row.reason))

    @property
    def summary(self) -> str:
        """`25 × no assistant message, 1 × not JSON`: the most frequent first."""
        return ", ".join(f"{number} × {kind}" for kind, number in self.counts.most_common())

    def check(self, accepted: int, name: str) -> None:
        """Nothing, where the refused rows are few enough and some row is left.

        Raises:
            InvalidInput: `name` is empty, damaged, has more bad rows than are allowed, or no good
                ones.
        """
        if not accepted and not self.total:
            raise InvalidInput(
                f"{name} is empty: it holds no conversation.",
                remedy=f"Put one conversation on each line: {EXAMPLE}",
            )
        damaged = any(self.counts[kind] for kind in _UNREADABLE)
        if accepted and not damaged and self.total <= (self.allowed or 0):
            return
        raise InvalidInput(
            f"{name}: {self.total} of {accepted + self.total} rows cannot be used"
            f" ({self.summary}).",
            faults=self.faults,
            total=self.total,
            remedy=self._remedy(accepted),
        )

    def _remedy(self, accepted: int) -> str:
        if self.counts["file damaged"]:
            return "Copy or download the file again: a damaged one is never used in part."
        if self.counts["file cut"]:
            return (
                "Copy or download the file again, or mend where it breaks off: nobody knows how"
                " many rows are missing, so it is never used in part."
            )
        if not accepted:
            if self.counts["not JSON"]:
                return "This does not look like JSONL: each line must be a JSON object of its own."
            return f"No row can be used. A conversation looks like this: {EXAMPLE}"
        if self.allowed is None:
            return "Correct or remove these lines and try again; nothing was stored."
        return (
            "Correct or remove these rows and try again, or leave them out with"
            f" --skip-bad {self.total}; nothing was stored."
        )
