"""Failures that only a server of requests meets, and the two dialects that report them.

PhoundryError
├── RequestTimeout            408   the deployment's request_timeout_ms is over
├── TooManyRequests           429   more in flight than the deployment's queue takes
└── ModelError
    └── ReplicaFailed         424   a replica answered with a failure, or broke off
"""

from __future__ import annotations

from typing import Any

from phoundry.errors import Fault, InvalidInput, ModelError, PhoundryError, Unavailable

# OpenAI's `type` by HTTP status; other client faults are invalid_request_error.
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
}


class RequestTimeout(PhoundryError):
    code = "RequestTimeout"
    status = 408


class TooManyRequests(PhoundryError):
    """`retry_after` is in whole seconds, for the header of that name."""

    code = "TooManyRequests"
    status = 429
    retry_after = 1


class ReplicaFailed(ModelError):
    """`replica_status` is what the replica answered, or 502 where it broke off."""

    code = "ModelError"
    replica_status = 502

    @classmethod
    def answered(cls, status: int, reason: str) -> ReplicaFailed:
        error = cls(reason)
        error.replica_status = status
        return error


def response_headers(error: PhoundryError) -> list[tuple[bytes, bytes]]:
    """The headers that go with an error: Retry-After, and Azure's account of a model's failure."""
    if isinstance(error, TooManyRequests):
        return [(b"retry-after", str(error.retry_after).encode())]
    if isinstance(error, Unavailable):
        return [(b"retry-after", b"1")]
    if isinstance(error, ReplicaFailed):
        reason = "".join(c if " " <= c <= "~" else "?" for c in error.message[:200])
        return [
            (b"ms-azureml-model-error-statuscode", str(error.replica_status).encode()),
            (b"ms-azureml-model-error-reason", reason.encode()),
        ]
    return []


def bad_parameter(name: str, reason: str) -> InvalidInput:
    """A parameter of a request that cannot be used: refused by name, never clamped."""
    return InvalidInput(f"The parameter '{name}' {reason}", faults=[Fault(name, reason)])


def message_of(error: PhoundryError) -> str:
    """One line for a client. The name of a bad parameter is in the message already."""
    return f"{error.message} {error.remedy}" if error.remedy else error.message


def openai_body(error: PhoundryError) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`, as OpenAI's clients read it."""
    faults = error.faults if isinstance(error, InvalidInput) else []
    default = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": message_of(error),
            "type": _OPENAI_TYPES.get(error.status, default),
            "param": faults[0].where if faults else None,
            "code": error.code,
        }
    }


def azure_body(error: PhoundryError) -> dict[str, Any]:
    """`{"error": {"code", "message"}}`, as Azure's endpoints answer."""
    return {"error": {"code": error.code, "message": message_of(error)}}
