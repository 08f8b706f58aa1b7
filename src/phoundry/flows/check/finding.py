"""What the validator has to say about a flow: one finding a fault, with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from phoundry.flows.document import Document

Severity = Literal["error", "warning"]
Verdict = Literal["runs", "needs attention", "cannot run"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An `error` would fail a run; with a `warning` the flow runs, but hardly as it was meant.

    `file` is relative to the flow's folder, `line` and `column` count from 1 (0: the whole file).
    `setup`: the flow's files are sound, and this machine lacks something (a connection, a
    variable, a package). `code` is Prompt flow's innermost where it has one.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int = 0
    column: int = 0
    remedy: str | None = None
    node: str | None = None
    setup: bool = False

    @property
    def place(self) -> str:
        """`flow.dag.yaml:12:5`."""
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.file, *numbers])

    def __str__(self) -> str:
        hint = f" {self.remedy}" if self.remedy else ""
        return f"{self.place}: {self.severity}: {self.message}{hint} [{self.code}]"

    def to_dict(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "node": self.node,
            "setup": self.setup,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The findings about one flow, in the order of its files and lines."""

    path: Path
    kind: Literal["dag", "flex", "prompty", "unknown"]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        return [item for item in self.findings if item.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [item for item in self.findings if item.severity == "warning"]

    @property
    def verdict(self) -> Verdict:
        if any(not item.setup for item in self.errors):
            return "cannot run"
        return "needs attention" if self.findings else "runs"

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "kind": self.kind,
            "verdict": self.verdict,
            "valid": not self.errors,
            "errors": [item.to_dict() for item in self.errors],
            "warnings": [item.to_dict() for item in self.warnings],
        }


@dataclass(slots=True)
class Notes:
    """Takes findings about `document` down while the checks run."""

    document: Document
    findings: list[Finding] = field(default_factory=list[Finding])
    # While something is looked at that this run may do without, such as another variant.
    lenient: bool = False
    _in_files: set[Finding] = field(default_factory=set["Finding"])

    def error(self, code: str, message: str, *at: str | int, **more: Any) -> None:
        """A fault at the place `at` of the flow's file."""
        self._add("error", code, message, at, more)

    def warning(self, code: str, message: str, *at: str | int, **more: Any) -> None:
        self._add("warning", code, message, at, more)

    def in_file(
        self,
        severity: Severity,
        code: str,
        message: str,
        file: Path | str,
        line: int = 0,
        column: int = 0,
        **more: Any,
    ) -> None:
        """A fault in another file of the flow."""
        severity = "warning" if self.lenient else severity
        name = relative(Path(file), self.document.file.parent)
        finding = Finding(severity, code, message, name, line, column, **more)
        if finding not in self._in_files:  # two nodes may be made from one file
            self._in_files.add(finding)
            self.findings.append(finding)

    def _add(
        self, severity: Severity, code: str, message: str, at: Sequence[str | int], more: Any
    ) -> None:
        severity = "warning" if self.lenient else severity
        line, column = place_of(self.document, at)
        name = self.document.file.name
        self.findings.append(Finding(severity, code, message, name, line, column, **more))


def place_of(document: Document, at: Sequence[str | int]) -> tuple[int, int]:
    """Line and column of the innermost part of `at` that the file has; zeros where none is."""
    place = tuple(at)
    while place:
        if place in document.lines:
            return document.lines[place], document.columns.get(place, 0)
        place = place[:-1]
    return 0, 0


def relative(file: Path, folder: Path) -> str:
    """`file` as a path from `folder`, with slashes."""
    if file.is_absolute() and file.is_relative_to(folder):
        file = file.relative_to(folder)
    return file.as_posix()
