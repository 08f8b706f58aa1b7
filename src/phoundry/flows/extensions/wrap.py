"""A node's call with its added keys around it.

From the inside out: one attempt with its time limit, attempts, the cache, the list. What stands in
for a failed node is the schedule's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phoundry.flows.extensions.model import NONE

if TYPE_CHECKING:
    from phoundry.flows.model import Flow
    from phoundry.flows.schedule import Step


def extended(flow: Flow, steps: Sequence[Step]) -> list[Step]:
    """`steps`, those with added keys wrapped."""
    return [step if step.node.extensions is NONE else _wrapped(flow, step) for step in steps]


def _wrapped(flow: Flow, step: Step) -> Step:
    node, keys, call = step.node, step.node.extensions, step.call
    if keys.timeout is not None or keys.retry is not None:
        from phoundry.flows.extensions.attempts import Attempts

        call = Attempts(node.name, call, keys.retry, keys.timeout)
    if keys.cache is not None:
        from phoundry.flows.extensions.cache import Cached, identity

        call = Cached(call, keys.cache, identity(flow, step), node)
    if call is not step.call:
        step = replace(step, call=call, quick=False)
    if keys.foreach is not None:
        from phoundry.flows.extensions.foreach import over_items

        step = replace(over_items(step, keys.foreach), quick=False)
    return step
