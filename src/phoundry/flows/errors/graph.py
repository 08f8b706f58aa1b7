"""Nodes and what they refer to, before and during a run."""

from __future__ import annotations

from phoundry.flows.errors.base import FlowUserError, InvalidFlowRequest


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


class NodeReferenceError(FlowUserError):
    code = "NodeReferenceError"


class UnsupportedReference(NodeReferenceError):
    code = "UnsupportedReference"


class InvalidReferenceProperty(NodeReferenceError):
    code = "InvalidReferenceProperty"


class ConditionError(FlowUserError):
    """A condition whose values can't be compared, found during the run."""

    code = "ConditionError"


class FlowDepthExceeded(FlowUserError):
    """Flows that call each other, or themselves, without an end."""

    code = "FlowDepthExceeded"
