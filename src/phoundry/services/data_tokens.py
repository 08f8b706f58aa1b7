"""A data asset as one model sees it: tokens, what is learnt of them, how long the rows are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from phoundry.files import read_json
from phoundry.services import bases, data
from phoundry.services.context import Context
from phoundry.specs.base import Preparation
from phoundry.specs.data import Bucket, DataAsset, Loss, Token, TokenReport

if TYPE_CHECKING:
    from phoundry.data.tokens import TokenSet

WHOLE = 2**31 - 1  # no row is longer, so none is cut
BUCKETS = 10
REPLACEMENT = "\ufffd"  # what a decoder writes for a part of a character
MOST_TOGETHER = 8  # tokens that may make one character; more is no character at all


def report(
    context: Context,
    reference: str,
    model: str,
    *,
    part: data.Part,
    limit: int,
    max_tokens: int | None = None,
    fetch: bool = False,
    retry: bool = False,
) -> TokenReport:
    """The rows of a split rendered for `model`, the first `limit` of them token by token.

    Where the model's files are not here, nothing but `ready: false` is answered; with `fetch` they
    are then asked for, and with `retry` also after that has failed before.

    Raises:
        NotFound: there is no such asset or model.
        InvalidInput: the asset holds preference pairs, or a row cannot be rendered.
    """
    asset = data.show(context, reference)
    found = TokenReport(asset=f"{asset.name}:{asset.version}", model=model, split=part)
    data.check_chats(asset)
    folder = _checkpoint(context, model, fetch=fetch, retry=retry)
    if folder is None:
        found.ready = False
        found.preparation = _preparation(context, model)
        return found
    found.limit, found.limit_of = _limit(folder, max_tokens)
    paths = data.paths(context, asset, part)
    _measure(context, paths, folder, found)
    found.examples = _examples(context, asset, part, folder, limit)
    return found


def _checkpoint(context: Context, model: str, *, fetch: bool, retry: bool) -> Path | None:
    with context.begin("models/read") as session:
        bases.check(session, context, model)
        if (folder := bases.made(session, context, model)) is not None or not fetch:
            return folder
    with context.begin("models/write") as session:
        if retry:
            bases.retry(session, context, model)
        return bases.checkpoint(session, context, model)


def _preparation(context: Context, model: str) -> Preparation | None:
    with context.begin("models/read") as session:
        return bases.preparation(session, context, model)


def _limit(folder: Path, max_tokens: int | None) -> tuple[int, str]:
    """As training has it: what the user allows, and never more than the model's context."""
    config: dict[str, Any] = read_json(folder / "config.json") or {}
    config = config.get("text_config") or config
    context_length = int(config.get("max_position_embeddings") or 2048)
    if max_tokens is not None and max_tokens < context_length:
        return max_tokens, "max_seq_length"
    return context_length, "the model's context"


def _measure(context: Context, paths: list[Path], folder: Path, found: TokenReport) -> None:
    """Fill in the counts. Training finds the same tokens in the cache."""
    import numpy as np

    from phoundry.data.tokens import prepare

    lengths, learnt = [np.zeros(0, np.int32)], 0
    losses = {"drop_turns": Loss(), "truncate": Loss(), "error": Loss()}
    for path in paths:
        fitted = prepare(path, folder, context.home.cache, max_tokens=found.limit)
        whole = fitted
        if fitted.cut:
            whole = prepare(path, folder, context.home.cache, max_tokens=WHOLE)
            _add_losses(losses, whole, fitted, found.limit)
        lengths.append(np.asarray(whole.lengths))
        learnt += int(whole.supervised.sum())
        found.notices += [notice for notice in whole.notices if notice not in found.notices]
    found.shortened, found.dropped = losses["drop_turns"].shortened, losses["drop_turns"].dropped
    every = np.concatenate(lengths)
    if not len(every):
        return
    found.rows, found.tokens, found.learnt = len(every), int(every.sum(dtype=np.int64)), learnt
    found.p50, found.p95 = (int(np.percentile(every, share)) for share in (50, 95))
    found.longest = int(every.max())
    found.too_long = int((every > found.limit).sum())
    found.losses = losses if found.too_long else {}
    found.buckets = buckets(every.tolist())


def _add_losses(losses: Mapping[str, Loss], whole: TokenSet, fitted: TokenSet, limit: int) -> None:
    """Count one file's rows over the limit by policy, as training would.

    What `truncate` leaves, the whole rows tell: nothing is rendered again for it.
    """
    dropping, truncating, refusing = losses["drop_turns"], losses["truncate"], losses["error"]
    dropping.shortened += fitted.truncated
    dropping.dropped += fitted.dropped
    dropping.cut += fitted.cut
    for place, length in enumerate(whole.lengths.tolist()):
        if length <= limit:
            continue
        refusing.refused += 1
        left = any(whole[place].loss_mask[:limit])
        truncating.shortened += left
        truncating.dropped += not left
        truncating.cut += length - limit if left else length


def buckets(lengths: Sequence[int]) -> list[Bucket]:
    """About `BUCKETS` of one width, a round number of tokens, and one for the rest.

    The width is chosen for 99 % of the rows: one very long row would leave all others in one
    bucket. Every row is in exactly one.
    """
    ordered = sorted(lengths)
    if not ordered:
        return []
    width = _round_up(max(1, -(-ordered[(len(ordered) - 1) * 99 // 100] // BUCKETS)))
    edges = [width * (i + 1) for i in range(BUCKETS)]
    edges = [edge for edge in edges if edge - width < ordered[-1]]
    if ordered[-1] > edges[-1]:
        edges.append(ordered[-1])
    places = [bisect_right(ordered, edge) for edge in edges]
    return [
        Bucket(tokens=edge, rows=place - before)
        for edge, place, before in zip(edges, places, [0, *places], strict=False)
    ]


def _round_up(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    power = 1
    while True:
        for step in (1, 2, 5):
            if number <= step * power:
                return step * power
        power *= 10


def _examples(
    context: Context, asset: DataAsset, part: data.Part, folder: Path, limit: int
) -> list[list[Token]]:
    if not limit:
        return []
    from phoundry.data import ChatTokenizer

    tokenizer = ChatTokenizer.load(folder)

    def tokens(messages: Sequence[Any], tools: Any) -> list[Token]:
        example = tokenizer.render_example(messages, tools)
        texts = token_texts(example.token_ids, tokenizer)
        triples = zip(example.token_ids, texts, example.loss_mask, strict=True)
        return [Token(id=each, text=text, learnt=learnt) for each, text, learnt in triples]

    # A row is more than one example where the model's template rewrites earlier turns.
    return [
        tokens(messages, row.get("tools"))
        for row in islice(data.parsed(context, asset, part), limit)
        for messages in tokenizer.parts(row["messages"], row.get("tools"))
    ]


class Decoder(Protocol):
    """The part of a ChatTokenizer that is needed here."""

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str: ...


def token_texts(ids: Sequence[int], tokenizer: Decoder) -> list[str]:
    """The text of each token; joined, they are the text of all.

    A token is decoded after the one before it, because some decoders take off a space at the
    beginning. Those that make one character together are given it at the last of them.
    """
    texts: list[str] = []
    before: list[int] = []
    pending: list[int] = []
    for place, each in enumerate(ids):
        pending.append(each)
        known = tokenizer.decode(before, skip_special=False) if before else ""
        text = tokenizer.decode([*before, *pending], skip_special=False)
        text = text[len(known) :] if text.startswith(known) else text
        whole = not text.endswith(REPLACEMENT) or len(pending) == MOST_TOGETHER
        if whole or place == len(ids) - 1:
            texts.append(text)
            before, pending = pending, []
        else:
            texts.append("")
    return texts
