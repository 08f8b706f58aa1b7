"""The validator: `check_flow` for one flow, `check_tree` for a tree of folders."""

from __future__ import annotations

from phoundry.flows.check.checker import check_flow
from phoundry.flows.check.finding import Finding, Report, Severity, Verdict
from phoundry.flows.check.needs import Known
from phoundry.flows.check.tree import check_tree, find_flows

__all__ = [
    "Finding",
    "Known",
    "Report",
    "Severity",
    "Verdict",
    "check_flow",
    "check_tree",
    "find_flows",
]
