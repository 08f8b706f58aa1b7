"""Where conversations of a row lie."""

from __future__ import annotations

from phoundry.training.decoder.layout import Group, Layout, Piece


def test_a_prefix_stands_before_what_goes_on_from_it() -> None:
    layout = Layout([Group(3, (2, 5)), Group(0, (4, 1)), Group(2, (6,))])
    assert layout.pieces == [
        Piece(0, 3),
        Piece(3, 2, prefix_start=0, prefix=3),
        Piece(5, 5, prefix_start=0, prefix=3),
        Piece(10, 4, prefix_start=10),
        Piece(14, 1, prefix_start=10),
        Piece(15, 2),
        Piece(17, 6, prefix_start=15, prefix=2),
    ]
    assert layout.tokens == 23


def test_pieces_follow_each_other_without_a_gap() -> None:
    groups = [Group(3, (2, 5)), Group(0, (4, 1)), Group(2, (6,))]
    layout, end = Layout(groups), 0
    for piece in layout.pieces:
        assert piece.start == end
        end += piece.length
    assert end == layout.tokens == sum(group.tokens for group in groups)


def test_positions_go_on_after_the_prefix() -> None:
    assert [piece.end for piece in Layout([Group(3, (2, 5)), Group(0, (4,))]).pieces] == [
        3,
        5,
        8,
        4,
    ]


def test_conversations_that_share_nothing_lie_end_to_end() -> None:
    layout = Layout.plain([4, 1])
    assert [(piece.start, piece.length, piece.prefix) for piece in layout.pieces] == [
        (0, 4, 0),
        (4, 1, 0),
    ]
    assert layout.tokens == 5
