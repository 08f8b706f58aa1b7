"""Views as a notebook shows them."""

from __future__ import annotations

from html.parser import HTMLParser

from pydantic import Field

from phoundry.specs.base import View
from phoundry.specs.connection import ConnectionValues
from phoundry.specs.endpoint import EndpointKeys


class Inner(View):
    step: int = 3


class Outer(View):
    name: str
    note: str = ""
    inner: Inner = Field(default_factory=Inner)
    pairs: dict[str, int] = Field(default_factory=lambda: {"blue": 90})
    names: list[str] = Field(default_factory=lambda: ["a", "b"])
    nothing: str | None = None
    count: int = 0


class Cells(HTMLParser):
    """The texts of a page, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(view: View) -> list[str]:
    cells = Cells(view._repr_html_())  # pyright: ignore[reportPrivateUsage] - Jupyter's name
    assert cells.open == []
    return cells.texts


def test_what_is_set_is_shown() -> None:
    texts = shown(Outer(name="faq"))
    assert texts == [
        *("name", "faq"),
        *("inner", "step", "3"),
        *("pairs", "blue = 90"),
        *("names", "a", "b"),
        *("count", "0"),
    ]


def test_a_value_is_never_markup() -> None:
    evil = "<script>alert('x')</script>"
    texts = shown(Outer(name=evil, pairs={evil: 1}, names=[evil]))  # type: ignore[dict-item]
    assert texts.count(evil) == 2
    assert f"{evil} = 1" in texts


def test_secrets_are_not_shown() -> None:
    keys = EndpointKeys(primaryKey="canary-1", secondaryKey="canary-2")
    values = ConnectionValues(name="faq", type="custom", secrets={"key": "canary-3"})
    everything = repr(keys) + repr(values) + str(keys) + "".join(shown(keys) + shown(values))
    assert "canary" not in everything
    assert keys.model_dump() == {"primaryKey": "canary-1", "secondaryKey": "canary-2"}
