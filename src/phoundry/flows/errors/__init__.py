"""What can go wrong with a flow, with the codes that Prompt flow gives it.

Prompt flow nests codes from the outermost (`UserError`) to the innermost (`InputTypeError`), and
scripts match on them. Here the nesting is the class tree, so `codes` is never written twice; a few
classes exist for the code alone, where Prompt flow lets an error of Python's through.

    FlowError                                                                     base
    ├── FlowUserError                       UserError
    │   ├── FlowValidationError             ValidationError
    │   │   ├── InvalidFlowRequest          what the graph or its inputs lack
    │   │   │   ├── DuplicateNodeName, …ReferenceNotFound, …                      graph
    │   │   │   └── InputNotFound, InputTypeError, InputParseError, …             values
    │   │   ├── InvalidSource, EnvironmentVariableMissing                         document
    │   │   ├── MissingRequiredInputs, GetConnectionError, InvalidImageInput, …   values
    │   │   └── PackageToolNotFound, InvalidCustomLLMTool                         tools
    │   ├── FlowDefinitionError
    │   │   ├── NoMapping, NoDefinition, UnknownVariant                           document
    │   │   └── APINotFound                                                       tools
    │   ├── SDKError ── InvalidFlowError ── UnknownVariant ── NoVariant           document
    │   ├── ToolValidationError                                                   tools
    │   │   ├── PythonParsingError          no tool, two tools, a file that does not load
    │   │   └── JinjaTemplateError, ChatAPIInvalidRole
    │   ├── NodeReferenceError              `${node.output.x}` that is not there  graph
    │   ├── ConditionError, FlowDepthExceeded                                     graph
    │   ├── LoadMultimediaDataError, InvalidMessageFormat, FlowOutputUnserializable   values
    │   ├── ToolExecutionError              a tool raised; NodeTimeout, ToolExit  running
    │   ├── OpenAIError                     a model's endpoint refused or failed  running
    │   └── SessionTimeout, SessionCrash                                          running
    └── FlowSystemError                     SystemError
        ├── YamlError, UnknownWord, MissingKey, WrongType, UnknownTool            document
        ├── TemplateSyntaxError                                                   tools
        ├── UnreadableImage                                                       values
        └── UnexpectedError                                                       base

Batches, flex flows and prompties have leaves of their own beside their code.
"""

from __future__ import annotations

from phoundry.flows.errors.base import (
    FlowDefinitionError,
    FlowError,
    FlowSystemError,
    FlowUserError,
    FlowValidationError,
    InvalidFlowRequest,
    NotSupported,
    SDKError,
    UnexpectedError,
    raise_together,
)
from phoundry.flows.errors.document import (
    EnvironmentVariableMissing,
    InvalidFlowError,
    InvalidSource,
    MissingKey,
    NoDefinition,
    NoMapping,
    NotUtf8,
    NoVariant,
    UnknownTool,
    UnknownVariant,
    UnknownWord,
    WrongType,
    YamlError,
)
from phoundry.flows.errors.graph import (
    ConditionError,
    DuplicateNodeName,
    EmptyOutputReference,
    FlowDepthExceeded,
    InputReferenceNotFound,
    InvalidNodeReference,
    InvalidReferenceProperty,
    NodeCircularDependency,
    NodeReferenceError,
    NodeReferenceNotFound,
    OutputReferenceNotFound,
    UnsupportedReference,
)
from phoundry.flows.errors.running import (
    NodeTimeout,
    OpenAIError,
    SessionCrash,
    SessionTimeout,
    ToolExecutionError,
    ToolExit,
)
from phoundry.flows.errors.tools import (
    APINotFound,
    BadFunctionInterface,
    ChatAPIInvalidRole,
    FailedToImportModule,
    InvalidCustomLLMTool,
    JinjaTemplateError,
    MultipleToolsDefined,
    NoToolDefined,
    PackageToolNotFound,
    PythonLoadError,
    PythonParsingError,
    TemplateAssertionError,
    TemplateSyntaxError,
    ToolExitAtLoad,
    ToolLoadError,
    ToolValidationError,
)
from phoundry.flows.errors.values import (
    FlowOutputUnserializable,
    GetConnectionError,
    InputNotFound,
    InputParseError,
    InputTypeError,
    InputTypeMismatch,
    InvalidConnectionType,
    InvalidImageInput,
    InvalidMessageFormat,
    LoadMultimediaDataError,
    MissingRequiredInputs,
    NodeInputValidationError,
    UnreadableImage,
)

__all__ = [
    "APINotFound",
    "BadFunctionInterface",
    "ChatAPIInvalidRole",
    "ConditionError",
    "DuplicateNodeName",
    "EmptyOutputReference",
    "EnvironmentVariableMissing",
    "FailedToImportModule",
    "FlowDefinitionError",
    "FlowDepthExceeded",
    "FlowError",
    "FlowOutputUnserializable",
    "FlowSystemError",
    "FlowUserError",
    "FlowValidationError",
    "GetConnectionError",
    "InputNotFound",
    "InputParseError",
    "InputReferenceNotFound",
    "InputTypeError",
    "InputTypeMismatch",
    "InvalidConnectionType",
    "InvalidCustomLLMTool",
    "InvalidFlowError",
    "InvalidFlowRequest",
    "InvalidImageInput",
    "InvalidMessageFormat",
    "InvalidNodeReference",
    "InvalidReferenceProperty",
    "InvalidSource",
    "JinjaTemplateError",
    "LoadMultimediaDataError",
    "MissingKey",
    "MissingRequiredInputs",
    "MultipleToolsDefined",
    "NoDefinition",
    "NoMapping",
    "NoToolDefined",
    "NoVariant",
    "NodeCircularDependency",
    "NodeInputValidationError",
    "NodeReferenceError",
    "NodeReferenceNotFound",
    "NodeTimeout",
    "NotSupported",
    "NotUtf8",
    "OpenAIError",
    "OutputReferenceNotFound",
    "PackageToolNotFound",
    "PythonLoadError",
    "PythonParsingError",
    "SDKError",
    "SessionCrash",
    "SessionTimeout",
    "TemplateAssertionError",
    "TemplateSyntaxError",
    "ToolExecutionError",
    "ToolExit",
    "ToolExitAtLoad",
    "ToolLoadError",
    "ToolValidationError",
    "UnexpectedError",
    "UnknownTool",
    "UnknownVariant",
    "UnknownWord",
    "UnreadableImage",
    "UnsupportedReference",
    "WrongType",
    "YamlError",
    "raise_together",
]
