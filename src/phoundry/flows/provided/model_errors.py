"""`promptflow.tools.exception`: what tools that call models catch and raise."""

from __future__ import annotations

from phoundry.flows.errors import (
    ChatAPIInvalidRole,
    InvalidConnectionType,
    JinjaTemplateError,
    OpenAIError,
    ToolValidationError,
)
from phoundry.flows.tools.model_errors import (
    ChatAPIFunctionRoleInvalidFormat,
    ChatAPIInvalidFunctions,
    ChatAPIInvalidTools,
    ChatAPIToolRoleInvalidFormat,
    LLMError,
)

WrappedOpenAIError = OpenAIError

__all__ = [
    "ChatAPIFunctionRoleInvalidFormat",
    "ChatAPIInvalidFunctions",
    "ChatAPIInvalidRole",
    "ChatAPIInvalidTools",
    "ChatAPIToolRoleInvalidFormat",
    "InvalidConnectionType",
    "JinjaTemplateError",
    "LLMError",
    "ToolValidationError",
    "WrappedOpenAIError",
]
