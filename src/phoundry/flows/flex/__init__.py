"""Flex flows: `flow.flex.yaml` names a function, or a class whose objects are called."""

from __future__ import annotations

from phoundry.flows.flex.definition import FlexFlow, load

__all__ = ["FlexFlow", "load"]
