"""What goes wrong with entries, with the codes that Prompt flow gives it."""

from __future__ import annotations

from typing import Any

from phoundry.flows.errors import FlowError, FlowSystemError, FlowUserError, FlowValidationError


class InvalidFlexFlowEntry(FlowValidationError):
    code = "InvalidFlexFlowEntry"


class FlowEntryInitializationError(FlowUserError):
    """The class of a flex flow could not be made. Its arguments are named, never shown: keys."""

    code = "FlowEntryInitializationError"


class InvalidAggregationFunction(FlowUserError):
    code = "InvalidAggregationFunction"


class ScriptExecutionError(FlowUserError):
    """The entry raised. `inner` is a flow's error that it let through, whose codes come last."""

    code = "ScriptExecutionError"

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        where: str | None = None,
        details: dict[str, Any] | None = None,
        inner: FlowError | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, where=where, details=details)
        self.inner = inner

    @property
    def codes(self) -> list[str]:
        return [*super().codes, *(self.inner.codes[1:] if self.inner else [])]


class UnwrappedError(FlowSystemError):
    """What Prompt flow lets through by its own name, `kind`: of async entries, and `SystemExit`."""

    code = "UnwrappedError"

    def __init__(
        self,
        message: str,
        *,
        kind: str = code,
        remedy: str | None = None,
        where: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, where=where, details=details)
        self.kind = kind

    @property
    def codes(self) -> list[str]:
        return ["SystemError", self.kind]

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"code": self.kind}
