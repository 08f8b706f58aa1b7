"""Which pieces are computed together, and what a row's turn looks like where it is gathered."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phoundry.training.decoder.gathering import ALIGNED, Gathering
from phoundry.training.decoder.heads import Heads
from phoundry.training.decoder.layout import Group, Layout
from phoundry.training.decoder.rope import Turn, turned

HEADS = Heads(queries=4, keys=2, width=8, scale=0.5)
SUFFIXES = st.lists(st.integers(1, 40), min_size=1, max_size=5).map(tuple)
GROUPS = st.lists(st.builds(Group, st.integers(0, 30), SUFFIXES), min_size=1, max_size=4)


def _turn(tokens: int, half: int = 4) -> Turn:
    angles = torch.linspace(0, 3, tokens)[:, None, None] * torch.arange(1, half + 1)
    return angles.cos(), angles.sin()


def _gathered(layout: Layout, half: int = 4) -> Gathering:
    turn = _turn(layout.tokens, half)
    return Gathering(layout.pieces, turn, HEADS, dtype=torch.float32)


@given(GROUPS)
def test_every_piece_is_in_one_bucket_that_is_wide_enough(groups: list[Group]) -> None:
    layout = Layout(groups)
    made = _gathered(layout)
    pieces = [piece for bucket in made.buckets for piece in bucket.pieces]
    assert sorted(pieces, key=lambda each: each.start) == layout.pieces
    for bucket in made.buckets:
        assert bucket.wide % ALIGNED == bucket.seen % ALIGNED == 0
        for piece in bucket.pieces:
            assert piece.length <= bucket.wide
            assert piece.prefix <= bucket.seen - bucket.wide


def test_pieces_with_a_long_prefix_do_not_pad_those_without() -> None:
    """Ten plain conversations beside three that go on from 800 tokens, all of one length."""
    layout = Layout([Group(800, (64, 64, 64)), Group(0, (64,) * 10)])
    short = [piece for piece in layout.pieces if piece.length == 64]
    made = Gathering(short, _turn(layout.tokens), HEADS, dtype=torch.float32)
    assert sorted((len(each.pieces), each.seen) for each in made.buckets) == [(3, 864), (10, 64)]


def test_pieces_of_nearly_one_length_are_one_bucket() -> None:
    (bucket,) = _gathered(Layout.plain([66, 65, 60, 71])).buckets
    assert (len(bucket.pieces), bucket.wide) == (4, 72)


@pytest.mark.parametrize("half", [4, 3, 2, 1])
def test_rows_are_turned_as_they_are_gathered_and_queries_scaled(half: int) -> None:
    """Whatever share of a head is turned: the rest and the values stay as they are."""
    layout = Layout([Group(5, (3, 9)), Group(0, (4,))])
    made = _gathered(layout, half)
    torch.manual_seed(0)
    qkv = torch.randn(layout.tokens, HEADS.all, HEADS.width)
    wanted = qkv.clone()
    wanted[:, : HEADS.turned] = turned(qkv[:, : HEADS.turned], _turn(layout.tokens, half))
    wanted[:, : HEADS.queries] *= HEADS.scale
    rows = made.turned_rows(qkv.flatten(1))
    for bucket in made.buckets:
        query, key, value = bucket.parts(rows)
        shape = (HEADS.keys, len(bucket.pieces), -1, bucket.wide, HEADS.width)
        query = query.view(shape)
        key, value = (each.view(*shape[:2], bucket.seen, HEADS.width) for each in (key, value))
        for place, piece in enumerate(bucket.pieces):
            own = wanted[piece.start : piece.start + piece.length]
            got = query[:, place, :, : piece.length].flatten(0, 1)
            torch.testing.assert_close(got, own[:, : HEADS.queries].transpose(0, 1))
            before = wanted[piece.prefix_start : piece.prefix_start + piece.prefix]
            start = bucket.seen - bucket.wide
            for each, first in ((key, HEADS.queries), (value, HEADS.turned)):
                heads = slice(first, first + HEADS.keys)
                got = each[:, place, : piece.prefix]
                torch.testing.assert_close(got, before[:, heads].transpose(0, 1))
                got = each[:, place, start : start + piece.length]
                torch.testing.assert_close(got, own[:, heads].transpose(0, 1))
