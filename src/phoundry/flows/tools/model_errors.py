"""What a model's server can answer instead of an answer, with the codes of OpenAI's own client,
which Prompt flow shows as the innermost ones."""

from __future__ import annotations

from phoundry.flows.errors import FlowUserError, OpenAIError, ToolValidationError

INTERNAL = 500


class BadRequestError(OpenAIError):
    code = "BadRequestError"


class AuthenticationError(OpenAIError):
    code = "AuthenticationError"


class PermissionDeniedError(OpenAIError):
    code = "PermissionDeniedError"


class NotFoundError(OpenAIError):
    code = "NotFoundError"


class ConflictError(OpenAIError):
    code = "ConflictError"


class UnprocessableEntityError(OpenAIError):
    code = "UnprocessableEntityError"


class RateLimitError(OpenAIError):
    code = "RateLimitError"


class InternalServerError(OpenAIError):
    code = "InternalServerError"


class APIStatusError(OpenAIError):
    code = "APIStatusError"


class APIConnectionError(OpenAIError):
    code = "APIConnectionError"


class APITimeoutError(APIConnectionError):
    code = "APITimeoutError"


class APIResponseError(OpenAIError):
    """An answer of status 200 that is none."""

    code = "APIResponseValidationError"


class LLMError(FlowUserError):
    code = "LLMError"


class ChatAPIInvalidTools(ToolValidationError):
    code = "ChatAPIInvalidTools"


class ChatAPIInvalidFunctions(ToolValidationError):
    code = "ChatAPIInvalidFunctions"


class ChatAPIFunctionRoleInvalidFormat(ToolValidationError):
    code = "ChatAPIFunctionRoleInvalidFormat"


class ChatAPIToolRoleInvalidFormat(ToolValidationError):
    code = "ChatAPIToolRoleInvalidFormat"


BY_STATUS: dict[int, type[OpenAIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def of_status(status: int) -> type[OpenAIError]:
    """The error that an HTTP status other than 200 stands for."""
    return BY_STATUS.get(status) or (InternalServerError if status >= INTERNAL else APIStatusError)
