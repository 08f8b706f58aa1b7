"""A data asset as a model sees it: token by token, and how long its rows are."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from phoundry.cli.output import Printer
from phoundry.cli.progress import displayed
from phoundry.cli.screen import echo, visible
from phoundry.settings import Settings

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.client.data import Split
    from phoundry.specs.data import Bucket, DataAsset, Loss, Token, TokenReport

BAR = 40  # characters of the longest bar
OPEN, CLOSE = "‹", "›"


def print_tokens(
    client: Client,
    out: Printer,
    asset: DataAsset,
    model: str,
    split: Split,
    rows: int,
    max_tokens: int | None = None,
) -> None:
    """The first `rows` rows of a split as tokens, then the numbers about all of them."""
    reference = f"{asset.name}:{asset.version}"

    def fetching(report: TokenReport) -> None:
        if not report.ready:
            how_far = report.preparation.words() if report.preparation else ""
            show(f"▸ Fetching {model}" + (f": {how_far}" if how_far else ""), "fetching")

    with displayed(out) as show:
        show(f"▸ Rendering {reference} for {model}", "rendering")
        found = client.data.tokens(
            reference,
            model,
            split=split,
            limit=rows,
            max_tokens=max_tokens,
            on_wait=fetching,
        )
    if not out.talks:
        out.one(found)
        return
    colour = Settings().coloured(terminal=sys.stdout.isatty())
    for number, tokens in enumerate(found.examples, start=1):
        echo(f"\nRow {number}: {len(tokens):,} tokens, {sum(t.learnt for t in tokens):,} learnt")
        # Colours are ours and must pass; what the tokens say is made harmless before.
        typer.echo(marked(tokens, colour=colour), color=colour)
    if found.examples:
        look = "Bold green" if colour else f"Between {OPEN} and {CLOSE}"
        echo(f"\n{look} is what the model learns to say.\n")
    echo("\n".join(summary(found)))
    for notice in found.notices:
        out.note(f"Note: {notice}")


def marked(tokens: Iterable[Token], *, colour: bool) -> str:
    """The tokens' text; stretches that are learnt in bold green, or in ‹…›."""
    pieces: list[str] = []
    learnt = False
    start, end = ("\x1b[1;32m", "\x1b[0m") if colour else (OPEN, CLOSE)
    for token in tokens:
        if token.learnt != learnt:
            pieces.append(start if token.learnt else end)
            learnt = token.learnt
        text = visible(token.text)
        # A terminal's colour does not last over a line break in every pager.
        pieces.append(text.replace("\n", f"{end}\n{start}") if learnt and colour else text)
    if learnt:
        pieces.append(end)
    return "".join(pieces)


def summary(found: TokenReport) -> list[str]:
    """The numbers in sentences, and the histogram."""
    share = 100 * found.learnt / found.tokens if found.tokens else 0
    lines = [
        f"{found.asset} ({found.split}) as {found.model} sees it: {found.rows:,} rows, "
        f"{found.tokens:,} tokens, {found.learnt:,} ({share:.0f} %) learnt.",
        f"Tokens a row: half have at most {found.p50:,}, 95 % at most {found.p95:,}, "
        f"the longest {found.longest:,}.",
    ]
    if found.too_long:
        lines.append(
            f"{found.too_long:,} rows have more than {found.limit:,} ({found.limit_of}). What "
            "becomes of them, truncation says:"
        )
        lines += [_loss(policy, loss) for policy, loss in found.losses.items()]
    else:
        lines.append(f"All fit: {found.limit:,} are allowed ({found.limit_of}).")
    return [*lines, "", *histogram(found.buckets)]


def _loss(policy: str, loss: Loss) -> str:
    if loss.refused:
        return f"  {policy:<10}  the training is refused, with the rows' numbers"
    way = "lose whole trailing turns" if policy == "drop_turns" else "lose their end"
    default = " (the default)" if policy == "drop_turns" else ""
    return (
        f"  {policy:<10}  {loss.shortened:,} {way}, {loss.dropped:,} are left out: {loss.cut:,} "
        f"tokens unseen{default}"
    )


def histogram(buckets: Iterable[Bucket]) -> list[str]:
    """A bar for each bucket; one with any row has at least one block."""
    known = list(buckets)
    most = max((bucket.rows for bucket in known), default=0)
    if not most:
        return []
    width = max(len(f"{bucket.tokens:,}") for bucket in known)
    rows = max(len(f"{bucket.rows:,}") for bucket in known)
    return [
        f"≤ {bucket.tokens:>{width},}  {bucket.rows:>{rows},}  "
        + "█" * -(-BAR * bucket.rows // most)
        for bucket in known
    ]
