"""`phoundry demo`"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo, visible

if TYPE_CHECKING:
    from phoundry.client import Client

TRAINED_QUESTIONS = 3
SHOWN_WORDS = 60


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question, what the data say, and what the two models said."""

    kind: str  # "trained" or "held out"
    question: str
    reference: str
    base: str
    tuned: str


@alone(example="phoundry demo\nphoundry demo -o json")
def demo(
    output: Output = Format.table,
    port: Annotated[int | None, typer.Option(help="Port of the control plane.")] = None,
    gateway_port: Annotated[int | None, typer.Option(help="Port of the endpoints.")] = None,
) -> None:
    """Walk the whole journey on a real model and real data, in minutes.

    SmolLM2 (135M) learns part of a construction FAQ on this machine, is registered, deployed and
    connected, and answers through a chat flow, beside the model it was made from. Interrupted, the
    next `phoundry demo` goes on.
    """
    from phoundry.cli.apply import carry_out
    from phoundry.cli.up import closing
    from phoundry.client import Client
    from phoundry.client.documents import declared
    from phoundry.journey import demo as example

    out = Printer(output)
    client = Client()
    info = client.start(port=port, gateway_port=gateway_port)
    out.note(f"Phoundry runs at {info.url}, its endpoints at {info.gateway_url}.")
    folder = client.home.root / "demo"
    source = example.write_faq(folder / f"{example.NAME}.jsonl", client.home.cache, out.note)
    out.note(f"{example.ATTRIBUTION} {example.ROWS} conversations in {source}.")
    project = example.project(source)
    documents = [declared(project)]
    plan = client.apply.plan(documents)
    carry_out(client, out, documents, plan, wait=True)
    journey = client.journeys.show(example.NAME)
    exchanges = _compare(client, Path(str(journey.flow_path)), out)
    extra: dict[str, Any] = {"exchanges": [_plain(each) for each in exchanges]}
    closing(client, out, journey, extra=extra, question=exchanges[0].question)


def _compare(client: Client, flow: Path, out: Printer) -> list[Exchange]:
    """Ask both models through the flow and the endpoint; print each answer as it is complete."""
    from phoundry.client.redirect import target_of
    from phoundry.journey.demo import NAME
    from phoundry.journey.steps import BASE

    name = next(step.reference for step in client.journeys.show(NAME).steps if step.name == "data")
    assert name is not None  # noqa: S101 - the journey has arrived
    trained = client.data.rows(name, split="train", limit=TRAINED_QUESTIONS)
    held_out = client.data.rows(name, split="test", limit=1)
    asked = [("trained", row) for row in trained] + [("held out", row) for row in held_out]
    base = target_of(client.endpoints, f"{NAME}/{BASE}")
    found: list[Exchange] = []
    with client.flows.chat(flow) as tuned_chat, client.flows.chat(flow, redirect=base) as base_chat:
        for kind, row in asked:
            question, reference = (message["content"] for message in row["messages"][-2:])
            base_chat.reset()
            tuned_chat.reset()
            answers = together(base_chat.ask(question), tuned_chat.ask(question))
            exchange = Exchange(kind, question, reference, *answers)
            found.append(exchange)
            if out.talks:
                _print(exchange)
    return found


def together(base: Iterable[str], tuned: Iterable[str]) -> tuple[str, str]:
    """Two answers whose models write at the same time: a piece of each is read in turn, and what
    the faster one has written beyond that waits in its pipe."""
    pieces = list(zip_longest(base, tuned, fillvalue=""))
    return "".join(first for first, _ in pieces), "".join(second for _, second in pieces)


def _print(exchange: Exchange) -> None:
    label = "TRAINED QUESTION" if exchange.kind == "trained" else "HELD-OUT QUESTION (never seen)"
    echo(f"\n{label}: {exchange.question}")
    _columns({"base": exchange.base, "tuned": exchange.tuned, "the data say": exchange.reference})


def _columns(texts: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for title in texts:
        grid.add_column(title, ratio=1, overflow="fold", header_style="bold")
    grid.add_row(*(_short(visible(text)) for text in texts.values()))
    Console(highlight=False, markup=False).print(grid)


def _short(text: str) -> str:
    """The beginning of an answer that goes on and on, marked as cut; `-o json` has all of it."""
    words = text.split()
    return text.strip() if len(words) <= SHOWN_WORDS else " ".join(words[:SHOWN_WORDS]) + " […]"


def _plain(exchange: Exchange) -> dict[str, str]:
    return {name: getattr(exchange, name) for name in Exchange.__slots__}
