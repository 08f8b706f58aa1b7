"""The added keys of a node that has some, from its YAML."""

from __future__ import annotations

import math
from typing import Any, cast

from phoundry.flows.document import Document, Place
from phoundry.flows.errors import FlowDefinitionError, FlowError
from phoundry.flows.extensions.conditions import parse_condition
from phoundry.flows.extensions.fields import Fields, numeric
from phoundry.flows.extensions.keys import Cache, Foreach, ItemFailure, OnError, Retry
from phoundry.flows.extensions.model import Extensions
from phoundry.flows.reference import parse

MOST_AT_ONCE = 64


def read_extensions(
    document: Document, at: Place, data: dict[str, Any], errors: list[FlowError], *, extended: bool
) -> Extensions:
    """The added keys of the node `data` at `at`; `extended` says that its condition is one."""
    if data.get("cache") and (data.get("aggregation") or data.get("reduce")):
        errors.append(
            FlowDefinitionError(
                "`cache` stands at an aggregation, whose metrics it could not repeat.",
                remedy="Drop the line.",
                where=document.where(*at, "cache"),
            )
        )
    return Extensions(
        retry=_retry(document, (*at, "retry"), data.get("retry"), errors),
        timeout=_timeout(document, (*at, "timeout"), data.get("timeout"), errors),
        on_error=_on_error(document, (*at, "on_error"), data.get("on_error"), errors),
        cache=_cache(document, (*at, "cache"), data.get("cache"), errors),
        foreach=_foreach(document, (*at, "foreach"), data.get("foreach"), errors),
        condition=parse_condition(document, (*at, "activate"), data["activate"], errors)
        if extended
        else None,
    )


def _retry(document: Document, at: Place, value: Any, errors: list[FlowError]) -> Retry | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"max_attempts": value}  # `retry: 3`
    known = ("max_attempts", "delay", "backoff", "jitter", "on")
    fields = Fields.of(document, at, value, known, errors)
    if fields is None:
        return None
    return Retry(
        max_attempts=fields.number("max_attempts", 3, least=1, whole=True),
        delay=fields.number("delay", 1.0, least=0),
        backoff=fields.number("backoff", 2.0, least=1),
        jitter=fields.number("jitter", 0.0, least=0),
        on=fields.names("on") if "on" in fields.data else (),
    )


def _timeout(document: Document, at: Place, value: Any, errors: list[FlowError]) -> float | None:
    if value is None:
        return None
    value = numeric(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and value > 0:
        return float(value)
    errors.append(
        FlowDefinitionError(
            f"`timeout: {value}` is no time.",
            remedy="It is a number of seconds above 0, such as `timeout: 30`.",
            where=document.where(*at),
        )
    )
    return None


def _on_error(document: Document, at: Place, value: Any, errors: list[FlowError]) -> OnError | None:
    if value is None:
        return None
    fields = Fields.of(document, at, value, ("value", "node"), errors)
    if fields is None:
        return None
    if len(fields.data.keys() & {"value", "node"}) != 1:
        fields.fault("needs either `value` or `node`", "Write `on_error: {value: null}`.")
        return None
    if "value" in fields.data:
        return OnError(value=fields.data["value"])
    return OnError(node=str(fields.data["node"]).removeprefix("${").removesuffix("}"))


def _cache(document: Document, at: Place, value: Any, errors: list[FlowError]) -> Cache | None:
    if value is None or value is False:
        return None
    if value is True:
        return Cache()
    fields = Fields.of(document, at, value, ("key", "ttl"), errors)
    if fields is None:
        return None
    return Cache(
        key=fields.names("key") if "key" in fields.data else None,
        ttl=fields.number("ttl", 3600, least=0) if "ttl" in fields.data else None,
    )


def _foreach(document: Document, at: Place, value: Any, errors: list[FlowError]) -> Foreach | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = {"over": value}  # `foreach: ${inputs.items}`
    known = ("over", "as", "concurrency", "on_error")
    fields = Fields.of(document, at, value, known, errors)
    if fields is None:
        return None
    if fields.data.get("over") is None:
        fields.fault("has no `over`", "Write `over: ${inputs.NAME}`, or a list.")
        return None
    name = str(fields.data.get("as", "item"))
    if not name.isidentifier() or name in ("inputs", "flow"):
        fields.fault(f"has `as: {name}`", "It is a name, such as `item`.", "as")
        return None
    concurrency = fields.number("concurrency", 4, least=1, whole=True)
    if concurrency > MOST_AT_ONCE:
        fields.fault(
            f"has `concurrency: {concurrency}`", f"It is at most {MOST_AT_ONCE}.", "concurrency"
        )
    failure = fields.word("on_error", "fail", ("fail", "skip", "null"))
    return Foreach(parse(fields.data["over"]), name, concurrency, cast(ItemFailure, failure))
