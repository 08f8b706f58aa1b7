"""What goes wrong with a prompty, with the codes that Prompt flow gives it."""

from __future__ import annotations

from phoundry.flows.errors import FlowDefinitionError, FlowUserError


class PromptyFormatError(FlowUserError):
    """No front matter between `---` lines; Prompt flow has no code of its own for it."""

    code = "UserErrorException"

    @property
    def codes(self) -> list[str]:
        return ["UserError", self.code]


class MissingRequiredInputError(FlowUserError):
    code = "MissingRequiredInputError"


class InvalidOutputKeyError(FlowUserError):
    code = "InvalidOutputKeyError"


class InvalidSampleError(FlowUserError):
    code = "InvalidSampleError"


class UnknownConnectionType(FlowUserError):
    code = "UnknownConnectionType"


class ChatAPIInvalidRoleError(FlowUserError):
    """A prompty that does not begin with a role line."""

    code = "ChatAPIInvalidRoleError"


class NoModel(FlowDefinitionError):
    """No `model.configuration`; Prompt flow lets Python's TypeError through."""

    @property
    def codes(self) -> list[str]:
        return [*super().codes, "TypeError"]
