"""`activate` beyond `when` and `is`: comparisons, `any`, `all` and `not`.

A value of a bypassed node is unknown, and so is what is compared with it; the groups follow
Kleene's logic: one true member makes `any` true and one false member makes `all` false whatever
the others are. A node whose whole condition is unknown is bypassed, as Prompt flow does with its
one comparison.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from phoundry.flows.document import Document, Place, is_list
from phoundry.flows.errors import ConditionError, FlowError
from phoundry.flows.extensions.fields import Fields
from phoundry.flows.extensions.keys import Comparison, Condition, Group
from phoundry.flows.reference import Literal as Value
from phoundry.flows.reference import Reference, parse

Compare = Callable[[Any, Any], Any]
Read = Callable[[Reference], Any]
UNKNOWN: Any = object()
GROUPS = ("any", "all", "not")
MOST_DEEP = 20


def _empty(found: Any, expected: Any) -> bool:
    return (found is None or (hasattr(found, "__len__") and len(found) == 0)) == bool(expected)


OPERATORS: Mapping[str, Compare] = {
    "is": operator.eq,
    "is_not": operator.ne,
    "greater_than": operator.gt,
    "at_least": operator.ge,
    "less_than": operator.lt,
    "at_most": operator.le,
    "in": lambda found, expected: found in expected,
    "not_in": lambda found, expected: found not in expected,
    "contains": lambda found, expected: expected in found,
    "matches": lambda found, expected: re.search(expected, found) is not None,
    "is_empty": _empty,
}


def parse_condition(
    document: Document, at: Place, value: Any, errors: list[FlowError], depth: int = 0
) -> Condition | None:
    """The condition that `value`, at `at`, says; None after a fault."""
    fields = Fields.of(document, at, value, ("when", *OPERATORS, *GROUPS), errors)
    if fields is None:
        return None
    if depth > MOST_DEEP:
        fields.fault(f"is nested more than {MOST_DEEP} deep", "Compute it in a Python node.")
        return None
    groups = [key for key in GROUPS if key in fields.data]
    if groups and len(fields.data) == 1:
        return _group(document, at, groups[0], fields, depth)
    operators = [key for key in OPERATORS if key in fields.data]
    if groups or "when" not in fields.data or len(operators) != 1:
        fields.fault(
            "is neither one comparison nor one group",
            "Write {when: ${node.output}, greater_than: 3} or {any: […]}, {all: […]}, {not: …}.",
        )
        return None
    return _comparison(fields, operators[0])


def _comparison(fields: Fields, name: str) -> Condition | None:
    value = fields.data[name]
    if name == "matches":
        try:
            re.compile(value)
        except (re.error, TypeError, RecursionError) as error:
            fields.fault(f"has `matches: {value}`", f"It is no pattern: {error}.", name)
            return None
    if name in ("in", "not_in") and not is_list(value) and isinstance(parse(value), Value):
        fields.fault(f"has `{name}: {value}`", "It takes a list or a reference.", name)
        return None
    return Comparison(parse(fields.data["when"]), name, parse(value))


def _group(
    document: Document, at: Place, kind: str, fields: Fields, depth: int
) -> Condition | None:
    value = fields.data[kind]
    if kind == "not":
        value = [value]
    if not is_list(value) or not value:
        fields.fault(f"has a `{kind}` that is no list", f"Write {kind}: [{{when: …, is: …}}, …]")
        return None
    members = [
        parse_condition(
            document,
            (*at, kind) if kind == "not" else (*at, kind, number),
            member,
            fields.errors,
            depth + 1,
        )
        for number, member in enumerate(value)
    ]
    found = tuple(member for member in members if member is not None)
    if len(found) < len(members):
        return None
    return Group(cast(Literal["any", "all", "not"], kind), found)


def met(condition: Condition, read: Read) -> bool | None:
    """Whether `condition` holds; None when that can't be known. `read` gives a reference's value,
    or `UNKNOWN` for a bypassed one.

    Raises:
        ConditionError: the values can't be compared in this way.
    """
    if isinstance(condition, Comparison):
        found, expected = read(condition.when), read(condition.value)
        if found is UNKNOWN or expected is UNKNOWN:
            return None
        return compare(condition.operator, found, expected)
    results = [met(member, read) for member in condition.members]
    if condition.kind == "not":
        return None if results[0] is None else not results[0]
    decisive = condition.kind == "any"
    if decisive in results:
        return decisive
    return None if None in results else not decisive


def compare(name: str, found: Any, expected: Any) -> bool:
    """`found NAME expected`.

    Raises:
        ConditionError: the two can't be compared in this way.
    """
    try:
        return bool(OPERATORS[name](found, expected))
    except Exception as error:  # noqa: BLE001 - values of tools compare as their classes say
        raise ConditionError(
            f"The condition can't compare {type(found).__name__} with `{name}: {expected}`: "
            f"{error}.",
            remedy="Compare values of one kind, or make them so in a Python node.",
        ) from None
