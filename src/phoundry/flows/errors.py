"""What can go wrong with a flow, with the codes that Prompt flow gives it.

Prompt flow nests codes from the outermost (`UserError`) to the innermost (`InputTypeError`), and
scripts match on them. Here the nesting is the class tree, so `codes` is never written twice:

    FlowError
    ├── FlowUserError                      UserError
    │   ├── FlowValidationError            ValidationError
    │   │   ├── InvalidFlowRequest         references, topology, inputs, literals
    │   │   ├── InvalidSource              a node's file is not there
    │   │   └── MissingRequiredInputs      a tool's parameter has no value
    │   ├── ToolValidationError
    │   │   ├── PythonParsingError         no tool, two tools, a file that does not load
    │   │   └── JinjaTemplateError         a template that does not load or render
    │   ├── NodeReferenceError             `${node.output.x}` that is not there at run time
    │   ├── ToolExecutionError             a tool raised
    │   ├── OpenAIError                    a model's endpoint refused or failed
    │   └── FlowOutputUnserializable, SessionTimeout, SessionCrash, …
    └── FlowSystemError                    SystemError
        └── YamlError, UnknownWord, MissingKey, …
"""

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


class InvalidSource(FlowValidationError):
    code = "InvalidSource"


class MissingRequiredInputs(FlowValidationError):
    code = "MissingRequiredInputs"


class FlowDefinitionError(FlowUserError):
    code = "FlowDefinitionError"


class APINotFound(FlowDefinitionError):
    """An llm node's `api` that is neither `chat` nor `completion`."""

    code = "APINotFound"


class FailedToImportModule(FlowUserError):
    """The module that an llm node names is not there."""

    code = "FailedToImportModule"


class NoMapping(FlowDefinitionError):
    """A section or node that is no `key: value` lines; Prompt flow lets Python's error through."""

    code = "AttributeError"


class NoDefinition(FlowDefinitionError):
    """An input, output or condition that is no `key: value` lines; as above."""

    code = "TypeError"


class SDKError(FlowUserError):
    code = "SDKError"


class InvalidFlowError(SDKError):
    code = "InvalidFlowError"


class UnknownVariant(InvalidFlowError, FlowDefinitionError):
    """A choice of a variant that the file does not have."""

    code = "InvalidFlowError"


class NoVariant(UnknownVariant):
    """`variants` or a variant's `node` is not there."""

    code = "KeyError"


class InvalidFlowRequest(FlowValidationError):
    code = "InvalidFlowRequest"


class DuplicateNodeName(InvalidFlowRequest):
    code = "DuplicateNodeName"


class InputReferenceNotFound(InvalidFlowRequest):
    code = "InputReferenceNotFound"


class NodeReferenceNotFound(InvalidFlowRequest):
    code = "NodeReferenceNotFound"


class NodeCircularDependency(InvalidFlowRequest):
    code = "NodeCircularDependency"


class InvalidNodeReference(InvalidFlowRequest):
    code = "InvalidNodeReference"


class EmptyOutputReference(InvalidFlowRequest):
    code = "EmptyOutputReference"


class OutputReferenceNotFound(InvalidFlowRequest):
    code = "OutputReferenceNotFound"


class InputNotFound(InvalidFlowRequest):
    code = "InputNotFound"


class InputTypeError(InvalidFlowRequest):
    code = "InputTypeError"


class InputParseError(InvalidFlowRequest):
    code = "InputParseError"


class NodeInputValidationError(InvalidFlowRequest):
    code = "NodeInputValidationError"


class InvalidConnectionType(InvalidFlowRequest):
    code = "InvalidConnectionType"


class GetConnectionError(FlowValidationError):
    code = "GetConnectionError"


class PackageToolNotFound(FlowValidationError):
    """No installed package offers the tool; Prompt flow's class ends in Error."""

    code = "PackageToolNotFoundError"


class ToolLoadError(FlowUserError):
    """A tool's class that could not be made."""

    code = "ToolLoadError"


class InputTypeMismatch(FlowValidationError):
    """An argument of a tool class's `__init__` that is no literal."""

    code = "InputTypeMismatch"


class InvalidCustomLLMTool(FlowValidationError):
    """A custom llm tool that takes no prompt template."""

    code = "InvalidCustomLLMTool"


class LoadMultimediaDataError(FlowUserError):
    """An input that is to be an image and can't be made one."""

    code = "LoadMultimediaDataError"


class InvalidImageInput(FlowValidationError):
    """What is written is no image: neither a file's path, nor base64, nor an address."""

    code = "InvalidImageInput"


class InvalidMessageFormat(FlowUserError):
    code = "InvalidMessageFormatType"


class ToolValidationError(FlowUserError):
    code = "ToolValidationError"


class PythonParsingError(ToolValidationError):
    code = "PythonParsingError"


class PythonLoadError(PythonParsingError):
    code = "PythonLoadError"


class NoToolDefined(PythonParsingError):
    code = "NoToolDefined"


class MultipleToolsDefined(PythonParsingError):
    code = "MultipleToolsDefined"


class BadFunctionInterface(PythonParsingError):
    """A tool method that takes an argument of the same name as its class's `__init__`."""

    code = "BadFunctionInterface"


class ToolExitAtLoad(PythonLoadError):
    """A tool's file that ends the process when it is imported."""

    code = "SystemExit"


class JinjaTemplateError(ToolValidationError):
    code = "JinjaTemplateError"


class ChatAPIInvalidRole(ToolValidationError):
    """A chat prompt that does not begin with a role line."""

    code = "ChatAPIInvalidRole"


class NodeReferenceError(FlowUserError):
    code = "NodeReferenceError"


class UnsupportedReference(NodeReferenceError):
    code = "UnsupportedReference"


class InvalidReferenceProperty(NodeReferenceError):
    code = "InvalidReferenceProperty"


class ToolExecutionError(FlowUserError):
    code = "ToolExecutionError"


class NodeTimeout(ToolExecutionError):
    """A node took longer than its own `timeout`."""

    code = "NodeTimeoutError"


class ConditionError(FlowUserError):
    """A condition whose values can't be compared, found during the run."""

    code = "ConditionError"


class FlowDepthExceeded(FlowUserError):
    """Flows that call each other, or themselves, without an end."""

    code = "FlowDepthExceeded"


class EnvironmentVariableMissing(FlowValidationError):
    """`${env:NAME}` where NAME is not set."""

    code = "EnvironmentVariableMissing"


class ToolExit(ToolExecutionError):
    """`sys.exit()` in a tool: the node fails, the process lives."""

    code = "SystemExit"


class OpenAIError(FlowUserError):
    """A model's endpoint could not be reached, refused, or answered something else."""

    code = "OpenAIError"


class FlowOutputUnserializable(FlowUserError):
    code = "FlowOutputUnserializable"


class NotSupported(FlowUserError):
    code = "NotSupported"


class SessionTimeout(FlowUserError):
    code = "LineExecutionTimeoutError"


class SessionCrash(FlowUserError):
    code = "ProcessCrashError"


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


class TemplateSyntaxError(FlowSystemError):
    """A template that does not parse, found when the flow is loaded."""

    code = "TemplateSyntaxError"


class TemplateAssertionError(TemplateSyntaxError):
    """A filter or test that Jinja does not know."""

    code = "TemplateAssertionError"


class UnexpectedError(FlowSystemError):
    """Something that is a fault of ours; reported whole, never swallowed."""

    code = "UnexpectedError"
