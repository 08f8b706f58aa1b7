"""What every error of a flow is: where it stood, what else was found with it, and its codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from phoundry.errors import PhoundryError


class FlowError(PhoundryError):
    """Root of the room's errors.

    `where` is `file:line` where known; `others` are further errors found in the same pass;
    `details` are those of a tool's exception (type, message, traceback, filename, lineno, name).
    """

    code: ClassVar[str] = "FlowError"
    status: ClassVar[int] = 400

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        where: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.where = where
        self.details = details
        self.others: list[FlowError] = []

    @property
    def codes(self) -> list[str]:
        """Outermost to innermost, such as `["UserError", "ToolExecutionError"]`."""
        chain = [kind for kind in type(self).__mro__ if issubclass(kind, FlowError)]
        return list(dict.fromkeys(kind.code for kind in reversed(chain[:-1]))) or [self.code]

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        lines = [f"{place}{super().__str__()}", *map(str, self.others)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """`{code, codes, message}` and, where known, `where`, `others`, `additionalInfo`."""
        body = super().to_dict() | {"codes": self.codes}
        if self.where:
            body["where"] = self.where
        if self.others:
            body["others"] = [error.to_dict() for error in self.others]
        if self.details:
            body["additionalInfo"] = [{"type": "ToolExecutionErrorDetails", "info": self.details}]
        return body

    def in_node(self, node: str) -> Self:
        """This error as one met while the tool of `node` was loaded; the codes stay."""
        self.message = f"Tool load failed in '{node}': ({self.code}) {self.message}"
        return self


def raise_together(errors: Sequence[FlowError]) -> None:
    """Raise the first of `errors` with the others attached; nothing when there are none."""
    if errors:
        first = errors[0]
        first.others = list(errors[1:])
        raise first


class FlowUserError(FlowError):
    code = "UserError"


class FlowSystemError(FlowError):
    code = "SystemError"


class FlowValidationError(FlowUserError):
    code = "ValidationError"


class FlowDefinitionError(FlowUserError):
    code = "FlowDefinitionError"


class InvalidFlowRequest(FlowValidationError):
    code = "InvalidFlowRequest"


class SDKError(FlowUserError):
    code = "SDKError"


class NotSupported(FlowUserError):
    code = "NotSupported"


class UnexpectedError(FlowSystemError):
    """Something that is a fault of ours; reported whole, never swallowed."""

    code = "UnexpectedError"
