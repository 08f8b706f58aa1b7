"""`promptflow.exceptions`: what tools raise to say whose fault it was. The code of a class derived
from these is its name, as in Prompt flow."""

from __future__ import annotations

from typing import Any

from phoundry.flows.errors import FlowError, FlowSystemError, FlowUserError


class ErrorTarget:
    """Whose part of Prompt flow an error is of; accepted, and nothing is made of it."""

    UNKNOWN = EXECUTOR = TOOL = FLOW_EXECUTOR = CORE = TRACING = DEVKIT = "Unknown"


class PromptflowException(FlowError):
    """`message`, or `message_format` with its values."""

    code = "UserError"

    def __init__(
        self,
        message: str = "",
        message_format: str = "",
        target: Any = None,
        *,
        remedy: str | None = None,
        where: str | None = None,
        details: dict[str, Any] | None = None,
        **values: Any,
    ) -> None:
        text = message or (message_format.format(**values) if message_format else "")
        super().__init__(str(text), remedy=remedy, where=where, details=details)
        self.target = target
        self.message_format = message_format

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in vars(cls):
            cls.code = cls.__name__

    @property
    def codes(self) -> list[str]:
        kinds = [kind for kind in type(self).__mro__ if issubclass(kind, FlowError)]
        found = [
            kind.code for kind in reversed(kinds) if kind not in (FlowError, PromptflowException)
        ]
        return list(dict.fromkeys(found)) or ["SystemError"]

    @property
    def error_codes(self) -> list[str]:
        return self.codes


class UserErrorException(PromptflowException, FlowUserError):
    code = "UserError"


class SystemErrorException(PromptflowException, FlowSystemError):
    code = "SystemError"


class ValidationException(UserErrorException):
    code = "ValidationError"
