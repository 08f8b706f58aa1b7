"""Reading a request: every value in its range, or refused by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from phoundry.data import ChatMessage
from phoundry.data.json_text import encodable
from phoundry.errors import InvalidInput
from phoundry.serving.engines.base import SamplingParams
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.messages import read_messages

STOP_LIMIT = 4
SEED_LIMIT = 2**63


class Parameters:
    """Typed access to the members of a JSON object; `null` counts as absent.

    Every method raises InvalidInput naming the parameter.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix

    def refuse_unknown(self, known: frozenset[str]) -> None:
        """A name outside `known` is a typo or a feature that is not here: never ignored."""
        for name, value in self._values.items():
            if name not in known and value is not None:
                raise bad_parameter(self._prefix + name, "is not supported here.")

    def number(
        self, name: str, low: float, high: float, *, above_low: bool = False
    ) -> float | None:
        """A number from `low` to `high`, or None. `above_low` leaves `low` itself out."""
        value = self._values.get(name)
        if value is None:
            return None
        wanted = f"a number from {low:g} to {high:g}" + (f", {low:g} left out" if above_low else "")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(name, value, wanted)
        if not low <= value <= high or (above_low and value == low):  # NaN fails, too
            raise self.bad(name, value, wanted)
        return float(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(name, value, f"a whole number from {low:,} to {high:,}")
        return value

    def boolean(self, name: str) -> bool | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.bad(name, value, "true or false")
        return value

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.bad(name, value, "a string")
        return value

    def sequence(self, name: str) -> Sequence[Any]:
        """The list called `name`; empty where it is absent."""
        value: Any = self._values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.bad(name, value, "a list […]")
        return cast(list[Any], value)

    def token_ids(self, name: str) -> list[int]:
        """A list of one token id or more, none of them negative."""
        ids = self.sequence(name)
        if not ids or not all(type(token) is int and token >= 0 for token in ids):
            raise self.bad(name, self._values.get(name), "a list of token ids, at least one")
        return list(ids)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """The object called `name`; empty where it is absent."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.bad(name, value, "an object {…}")
        return cast(dict[str, Any], value)

    def stop(self, name: str = "stop") -> tuple[str, ...]:
        """One stop string, or up to four; none of them empty."""
        value: Any = self._values.get(name)
        if value is None:
            return ()
        strings = cast(list[Any], [value] if isinstance(value, str) else value)
        wanted = f"a string or a list of at most {STOP_LIMIT} strings, none of them empty"
        if not isinstance(strings, list) or len(strings) > STOP_LIMIT:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self.bad(name, value, wanted)
        if not all(isinstance(string, str) and string for string in strings):
            raise self.bad(name, value, wanted)
        if not all(encodable(string) for string in strings):
            raise bad_parameter(
                self._prefix + name, "is not Unicode: it has half a surrogate pair."
            )
        return tuple(strings)

    def messages(self, name: str = "messages") -> list[ChatMessage]:
        """A conversation of at least one message."""
        value: Any = self._values.get(name)
        where = self._prefix + name
        if not isinstance(value, list) or not value:
            raise bad_parameter(where, 'must be a list of {"role", "content"} with one or more.')
        return read_messages(cast(Sequence[Any], value), where)

    def bad(self, name: str, value: object, wanted: str) -> InvalidInput:
        """The error that says what `value` is and what it must be."""
        found = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "…"
        return bad_parameter(self._prefix + name, f"is {found}; it must be {wanted}.")


def sampling(parameters: Parameters, temperature: float | None) -> SamplingParams:
    """The parameters that both dialects share. `max_tokens` is bounded later by the context."""
    top_p = parameters.number("top_p", 0, 1, above_low=True)
    return SamplingParams(
        max_tokens=0,
        temperature=temperature or 0.0,
        top_p=1.0 if top_p is None else top_p,
        top_k=parameters.integer("top_k", 0, 2**31) or 0,
        seed=parameters.integer("seed", -SEED_LIMIT, SEED_LIMIT - 1),
        presence_penalty=parameters.number("presence_penalty", -2, 2) or 0.0,
        frequency_penalty=parameters.number("frequency_penalty", -2, 2) or 0.0,
    )
