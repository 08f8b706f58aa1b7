"""Values: inputs, connections, images, messages, outputs."""

from __future__ import annotations

from phoundry.flows.errors.base import (
    FlowSystemError,
    FlowUserError,
    FlowValidationError,
    InvalidFlowRequest,
)


class InputNotFound(InvalidFlowRequest):
    code = "InputNotFound"


class InputTypeError(InvalidFlowRequest):
    code = "InputTypeError"


class InputParseError(InvalidFlowRequest):
    code = "InputParseError"


class MissingRequiredInputs(FlowValidationError):
    code = "MissingRequiredInputs"


class NodeInputValidationError(InvalidFlowRequest):
    code = "NodeInputValidationError"


class InputTypeMismatch(FlowValidationError):
    """An argument of a tool class's `__init__` that is no literal."""

    code = "InputTypeMismatch"


class InvalidConnectionType(InvalidFlowRequest):
    code = "InvalidConnectionType"


class GetConnectionError(FlowValidationError):
    code = "GetConnectionError"


class LoadMultimediaDataError(FlowUserError):
    """An input that is to be an image and can't be made one."""

    code = "LoadMultimediaDataError"


class InvalidImageInput(FlowValidationError):
    """What is written is no image: neither a file's path, nor base64, nor an address."""

    code = "InvalidImageInput"


class UnreadableImage(FlowSystemError):
    """A prompt's own image that can't be read; Prompt flow lets Python's OSError through."""

    code = "FileNotFoundError"


class InvalidMessageFormat(FlowUserError):
    code = "InvalidMessageFormatType"


class FlowOutputUnserializable(FlowUserError):
    code = "FlowOutputUnserializable"
