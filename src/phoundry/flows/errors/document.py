"""The file itself: its YAML, its words, its variants, what it names."""

from __future__ import annotations

from phoundry.flows.errors.base import (
    FlowDefinitionError,
    FlowSystemError,
    FlowValidationError,
    SDKError,
)


class YamlError(FlowSystemError):
    code = "YAMLError"


class NotUtf8(YamlError):
    code = "UnicodeDecodeError"


class UnknownWord(FlowSystemError):
    """A `type` that is none of the known ones; Prompt flow lets Python's ValueError through."""

    code = "ValueError"


class MissingKey(FlowSystemError):
    code = "KeyError"


class WrongType(FlowSystemError):
    """`${node.output.k[0]}` where `k` can't be indexed."""

    code = "TypeError"


class UnknownTool(FlowSystemError):
    """A node of a kind that nothing runs; Prompt flow lets NotImplementedError through."""

    code = "NotImplementedError"


class NoMapping(FlowDefinitionError):
    """A section or node that is no `key: value` lines; Prompt flow lets Python's error through."""

    code = "AttributeError"


class NoDefinition(FlowDefinitionError):
    """An input, output or condition that is no `key: value` lines; as above."""

    code = "TypeError"


class InvalidFlowError(SDKError):
    code = "InvalidFlowError"


class UnknownVariant(InvalidFlowError, FlowDefinitionError):
    """A choice of a variant that the file does not have."""

    code = "InvalidFlowError"


class NoVariant(UnknownVariant):
    """`variants` or a variant's `node` is not there."""

    code = "KeyError"


class InvalidSource(FlowValidationError):
    code = "InvalidSource"


class EnvironmentVariableMissing(FlowValidationError):
    """`${env:NAME}` where NAME is not set."""

    code = "EnvironmentVariableMissing"
