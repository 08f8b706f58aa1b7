"""The errors that scripts catch by Prompt flow's names. Each is also one of Phoundry's own tree, so
that `except NotFound` and `except UserErrorException` both see it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from phoundry.errors import Conflict, NotFound
from phoundry.flows.provided.exceptions import UserErrorException


class SDKError(UserErrorException):
    code = "SDKError"


class RunNotFoundError(SDKError, NotFound):
    code = "RunNotFoundError"


class RunExistsError(SDKError, Conflict):
    code = "RunExistsError"


class ConnectionNotFoundError(SDKError, NotFound):
    code = "ConnectionNotFoundError"


class InvalidRunStatusError(SDKError):
    """A run that failed as a whole, or was cancelled."""

    code = "InvalidRunStatusError"


@contextmanager
def finding(name: str, kind: type[SDKError]) -> Generator[None]:
    """Raise `kind` where the block does not find what is called `name`."""
    try:
        yield
    except NotFound as error:
        if f"'{name}'" not in error.message:
            raise  # something else is missing, such as the flow of a run
        raise kind(error.message, remedy=error.remedy) from error
