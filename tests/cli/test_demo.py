"""The demonstration asks two models at once."""

from __future__ import annotations

from collections.abc import Iterator

from phoundry.cli.demo import together


def test_both_models_write_at_the_same_time() -> None:
    begun: list[str] = []

    def answer(name: str, other: str, words: list[str]) -> Iterator[str]:
        begun.append(name)
        yield words[0]
        assert other in begun, f"{name} had to end before {other} began"
        yield from words[1:]

    base = answer("base", "tuned", ["a", "b", "c", "d"])
    tuned = answer("tuned", "base", ["1", "2"])
    assert together(base, tuned) == ("abcd", "12")


def test_an_answer_may_be_empty() -> None:
    assert together(iter([]), iter(["yes"])) == ("", "yes")
