"""Prompties: a prompt with its model and inputs in one file, run like a flow."""

from __future__ import annotations

from phoundry.flows.prompty.definition import PromptyFlow, load

__all__ = ["PromptyFlow", "load"]
