"""The one tree of errors.

Every failure that a user can cause or meet is one of these. A message says what was found, the
limit, and the remedy. The command line prints it once and exits with `exit_code`; the API answers
once with `status` and `{"error": {"code", "message", ...}}`.

    PhoundryError                 500  exit 1
    ├── UsageError                400  exit 2   the call itself is wrong
    ├── InvalidInput              400  exit 1   what the user wrote: every fault at once
    ├── Unauthenticated           401  exit 1
    ├── Forbidden                 403  exit 1
    ├── NotFound                  404  exit 1   with the nearest names
    ├── Conflict                  409  exit 1   exists already, is in use, is in a wrong state
    ├── TooLarge                  413  exit 1
    ├── InsufficientResources     422  exit 1   memory, disk, ports
    ├── ModelError                424  exit 1   the model or its engine failed
    ├── MissingDependency         501  exit 1   an extra is not installed
    ├── Unavailable               503  exit 1   not running, not ready
    ├── WorkerFailed              500  exit 1   a child process ended without a result
    └── Cancelled                 409  exit 130
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


class PhoundryError(Exception):
    """Root of the tree. `remedy` is the sentence that tells the user what to do next."""

    code: ClassVar[str] = "Error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    def to_dict(self) -> dict[str, Any]:
        """The wire form: `{"code", "message", "remedy"?}`."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.remedy:
            body["remedy"] = self.remedy
        return body


class UsageError(PhoundryError):
    code = "UsageError"
    status = 400
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one place of the user's input."""

    where: str  # "faq.jsonl:7", "endpoint.yaml:3", "body.messages[0].role"
    reason: str  # "not JSON: Expecting ',' delimiter (column 18)"

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class InvalidInput(PhoundryError):
    """Input that was checked whole. `faults` are the ones shown; `total` counts all of them."""

    code = "InvalidInput"
    status = 400
    shown: ClassVar[int] = 20

    def __init__(
        self,
        message: str,
        *,
        faults: Sequence[Fault] = (),
        total: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = list(faults)
        self.total = len(self.faults) if total is None else total

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  {fault}" for fault in self.faults[: self.shown]]
        if self.total > self.shown:
            lines.append(f"  … and {self.total - self.shown} more")
        if self.remedy:
            lines.append(self.remedy)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {
            "faults": [asdict(fault) for fault in self.faults[:100]],
            "total": self.total,
        }


class Unauthenticated(PhoundryError):
    code = "Unauthenticated"
    status = 401


class Forbidden(PhoundryError):
    code = "Forbidden"
    status = 403


class NotFound(PhoundryError):
    code = "NotFound"
    status = 404

    @classmethod
    def named(
        cls, noun: str, name: str, known: Iterable[str], *, remedy: str | None = None
    ) -> NotFound:
        """`There is no model 'smollm' …`, with up to three names that come close."""
        near = nearest(name, known)
        hint = f"Did you mean {', '.join(near)}?" if near else None
        parts = [part for part in (hint, remedy) if part]
        return cls(f"There is no {noun} '{name}'.", remedy=" ".join(parts) or None)


class Conflict(PhoundryError):
    code = "Conflict"
    status = 409


class TooLarge(PhoundryError):
    code = "TooLarge"
    status = 413


class InsufficientResources(PhoundryError):
    code = "InsufficientResources"
    status = 422


class ModelError(PhoundryError):
    code = "ModelError"
    status = 424


class MissingDependency(PhoundryError):
    code = "MissingDependency"
    status = 501

    @classmethod
    def extra(cls, package: str, extra: str, purpose: str) -> MissingDependency:
        """An optional package that `purpose` needs is not installed."""
        return cls(
            f"{purpose} needs the package '{package}', which is not installed.",
            remedy=f'Install it with: pip install "phoundry[{extra}]"',
        )


class Unavailable(PhoundryError):
    code = "Unavailable"
    status = 503


class WorkerFailed(PhoundryError):
    code = "WorkerFailed"
    status = 500


class Cancelled(PhoundryError):
    code = "Cancelled"
    status = 409
    exit_code = 130


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Names of `known` that a user who typed `name` may have meant, best first."""
    import difflib  # what goes well never needs it, and a flow's process starts often

    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.5)
    contained = [low for low in sorted(by_lower) if name.lower() in low and low not in near]
    return [by_lower[low] for low in [*near, *contained][:limit]]


def tree() -> dict[str, type[PhoundryError]]:
    """Every error of the tree by its `code`."""
    found: dict[str, type[PhoundryError]] = {}
    pending: list[type[PhoundryError]] = [PhoundryError]
    while pending:
        error = pending.pop()
        found.setdefault(error.code, error)
        pending.extend(error.__subclasses__())
    return found


def from_dict(body: dict[str, Any]) -> PhoundryError:
    """The error that `to_dict` wrote, of the same class where this process knows its code."""
    kind = tree().get(str(body.get("code")), PhoundryError)
    message, remedy = str(body.get("message", "unknown error")), body.get("remedy")
    if issubclass(kind, InvalidInput):
        faults = [Fault(**fault) for fault in body.get("faults", [])]
        return kind(message, faults=faults, total=body.get("total"), remedy=remedy)
    return kind(message, remedy=remedy)
