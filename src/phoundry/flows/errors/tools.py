"""Tools and templates that do not load."""

from __future__ import annotations

from phoundry.flows.errors.base import (
    FlowDefinitionError,
    FlowSystemError,
    FlowUserError,
    FlowValidationError,
)


class PackageToolNotFound(FlowValidationError):
    """No installed package offers the tool; Prompt flow's class ends in Error."""

    code = "PackageToolNotFoundError"


class ToolLoadError(FlowUserError):
    """A tool's class that could not be made."""

    code = "ToolLoadError"


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


class APINotFound(FlowDefinitionError):
    """An llm node's `api` that is neither `chat` nor `completion`."""

    code = "APINotFound"


class FailedToImportModule(FlowUserError):
    """The module that an llm node names is not there."""

    code = "FailedToImportModule"


class InvalidCustomLLMTool(FlowValidationError):
    """A custom llm tool that takes no prompt template."""

    code = "InvalidCustomLLMTool"


class ChatAPIInvalidRole(ToolValidationError):
    """A chat prompt that does not begin with a role line."""

    code = "ChatAPIInvalidRole"


class JinjaTemplateError(ToolValidationError):
    code = "JinjaTemplateError"


class TemplateSyntaxError(FlowSystemError):
    """A template that does not parse, found when the flow is loaded."""

    code = "TemplateSyntaxError"


class TemplateAssertionError(TemplateSyntaxError):
    """A filter or test that Jinja does not know."""

    code = "TemplateAssertionError"
