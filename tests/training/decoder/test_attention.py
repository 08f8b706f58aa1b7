"""Attention per conversation against one dense mask over the whole row, and rotary turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from phoundry.training.decoder import attention, gathering
from phoundry.training.decoder.attention import Attention, attend, attend_varlen
from phoundry.training.decoder.heads import Heads
from phoundry.training.decoder.layout import Group, Layout, Piece
from phoundry.training.decoder.rope import Turn

SEGMENTS = (5, 1, 17, 9)
PLAIN = (Group(0, SEGMENTS),)
# Short and long ones with and without a prefix, prefixes of one length in two groups, and one of a
# length that needs no padding.
SHARED = (
    Group(20, (5, 1, 30, 130)),
    Group(0, (9, 120, 1, 17)),
    Group(16, (7, 16)),
    Group(20, (3, 4)),
    Group(40, (2, 1)),  # may be too long for plain products, while what follows it is not
    Group(0, (2,)),
)
HEADS = Heads(queries=6, keys=2, width=8, scale=0.3)
Groups = Sequence[Group]


def _tokens(groups: Groups) -> int:
    return sum(group.tokens for group in groups)


def _qkv(groups: Groups = PLAIN) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(_tokens(groups), (6 + 2 * 2) * 8, requires_grad=True)


def _turn(groups: Groups = PLAIN, half: int = 4) -> Turn:
    angles = torch.randn(_tokens(groups), 1, half)
    return angles.cos(), angles.sin()


def _attended(qkv: Tensor, turn: Turn, groups: Groups = PLAIN, window: int | None = None) -> Tensor:
    return attend(qkv, turn, Attention(Layout(groups)), replace(HEADS, window=window))


def _turned(x: Tensor, turn: Turn) -> Tensor:
    """The textbook's x·cos + rotate_half(x)·sin, over the first dimensions."""
    cosine, sine = (torch.cat([each, each], -1) for each in turn)
    width = cosine.shape[-1]
    moved, still = x[..., :width], x[..., width:]
    rotated = torch.cat([-moved[..., width // 2 :], moved[..., : width // 2]], -1)
    return torch.cat([moved * cosine + rotated * sine, still], -1)


def _seen(groups: Groups, window: int | None) -> Tensor:
    """(tokens, tokens): a token sees what its own conversation has at its place and before."""
    # Of each token: its group, its conversation in the group (0: all of them), its position.
    lies: list[tuple[int, int, int]] = []
    for number, group in enumerate(groups):
        lies += [(number, 0, place) for place in range(group.prefix)]
        for member, length in enumerate(group.suffixes, 1):
            lies += [(number, member, group.prefix + place) for place in range(length)]
    number, member, place = torch.tensor(lies).T
    back = place[:, None] - place[None, :]
    same = (member[:, None] == member[None, :]) | (member[None, :] == 0)
    seen = (number[:, None] == number[None, :]) & same & (back >= 0)
    return seen if window is None else seen & (back < window)


def _reference(qkv: Tensor, turn: Turn, groups: Groups, window: int | None) -> Tensor:
    """One dense mask over the whole row, keys repeated: slow and plain."""
    mask = _seen(groups, window)
    parts = qkv.view(len(mask), 10, 8)
    query, key = _turned(parts[:, :6], turn), _turned(parts[:, 6:8], turn)
    key, value = key.repeat_interleave(3, 1), parts[:, 8:].repeat_interleave(3, 1)
    query, key, value = (each.transpose(0, 1) for each in (query, key, value))
    output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=HEADS.scale)
    return output.transpose(0, 1).flatten(1)


def _assert_as_one_dense_mask(groups: Groups, window: int | None, half: int) -> None:
    qkv, turn = _qkv(groups), _turn(groups, half)
    expected = _reference(qkv, turn, groups, window)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, qkv, direction)
    ours = _attended(qkv, turn, groups, window)
    (got,) = torch.autograd.grad(ours, qkv, direction)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [PLAIN, SHARED], ids=["plain", "shared"])
@pytest.mark.parametrize("longest_dense", [0, 10, 30, 512])
@pytest.mark.parametrize("window", [None, 4, 64])
@pytest.mark.parametrize("half", [4, 2])
def test_output_and_gradients_equal_one_dense_mask(
    groups: Groups,
    longest_dense: int,
    window: int | None,
    half: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "LONGEST_DENSE", longest_dense)
    _assert_as_one_dense_mask(groups, window, half)


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_what_is_gathered_again_is_the_same(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a prefix's keys and values: kept in every layer, or not."""
    monkeypatch.setattr(gathering, "KEPT", kept)
    _assert_as_one_dense_mask(SHARED, None, half=4)


def test_a_long_prefix_of_many_is_not_kept_for_each() -> None:
    """Of 40 pieces that see 200 tokens each, 40 copies."""
    groups = (Group(200, (4,) * 40),)
    qkv, turn = _qkv(groups), _turn(groups)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _attended(qkv, turn, groups)
    weights = sum(each.numel() for each in kept if each.shape[-1] != HEADS.width)
    copies = 40 * 200 * 2 * HEADS.keys * HEADS.width
    assert sum(each.numel() for each in kept) - weights < copies / 4
    assert any(each.data_ptr() == qkv.data_ptr() for each in kept)


@pytest.mark.parametrize("longest_dense", [0, 30, 512])
def test_in_sixteen_bits_it_is_the_same_but_for_rounding(
    longest_dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LONGEST_DENSE", longest_dense)
    qkv, (cosine, sine) = _qkv(SHARED), _turn(SHARED)
    expected = _reference(qkv, (cosine, sine), SHARED, None)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, qkv, direction)
    ours = _attended(qkv.bfloat16(), (cosine.bfloat16(), sine.bfloat16()), SHARED)
    (got,) = torch.autograd.grad(ours, qkv, direction.bfloat16())
    for near, exact in ((ours.detach(), expected.detach()), (got, wanted)):
        assert (near - exact).square().mean() < 0.02**2 * exact.square().mean()


# Up to 40 tokens, so that a piece is padded to one, two or three times what widths are rounded to.
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5).map(tuple)
ROWS = st.lists(st.builds(Group, st.integers(0, 40), LENGTHS), min_size=1, max_size=4)


@given(
    groups=ROWS,
    longest_dense=st.sampled_from([0, 10, 20, 512]),
    window=st.sampled_from([None, 1, 4, 64]),
)
@settings(max_examples=60)
def test_any_groups_attend_as_one_dense_mask_says(
    groups: list[Group], longest_dense: int, window: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(attention, "LONGEST_DENSE", longest_dense)
        _assert_as_one_dense_mask(groups, window, half=4)


@pytest.mark.parametrize("window", [None, 4, 64])
def test_a_graphics_processor_is_asked_for_the_same(
    window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself needs one; here a plain reading of its documentation stands for it."""

    def kernel(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float,
        window_size: tuple[int, int],
        enable_gqa: bool = False,
    ) -> Tensor:
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert (max_q, max_k) == (max(SEGMENTS), max(SEGMENTS))
        assert enable_gqa
        ends = [int(each) for each in cu_seq_q]
        parts: list[Tensor] = []
        for start, end in pairwise(ends):
            q, k, v = (each[start:end].transpose(0, 1) for each in (query, key, value))
            place = torch.arange(end - start)
            back = place[:, None] - place[None, :]
            seen = (back >= -window_size[1]) & ((window_size[0] < 0) | (back <= window_size[0]))
            part = scaled_dot_product_attention(
                q, k, v, attn_mask=seen, scale=scale, enable_gqa=True
            )
            parts.append(part.transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    qkv, turn = _qkv(), _turn()
    expected = _reference(qkv, turn, PLAIN, window)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, qkv, direction)
    ours = attend_varlen(qkv, turn, Layout(PLAIN), replace(HEADS, window=window))
    (got,) = torch.autograd.grad(ours, qkv, direction)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def _changed(groups: Groups, where: slice) -> Tensor:
    """(tokens,): whose output is another once those tokens are other ones."""
    qkv, turn = _qkv(groups), _turn(groups)
    before = _attended(qkv, turn, groups)
    with torch.no_grad():
        qkv[where] += 5
    return (before != _attended(qkv, turn, groups)).any(1)


def _whole(piece: Piece) -> slice:
    return slice(piece.start, piece.start + piece.length)


@pytest.fixture(params=[0, 10, 30, 512])
def longest_dense(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(attention, "LONGEST_DENSE", request.param)
    return request.param


def test_nothing_crosses_from_one_conversation_to_another(longest_dense: int) -> None:
    changed = _changed(PLAIN, slice(SEGMENTS[0]))
    assert changed[: SEGMENTS[0]].all()
    assert not changed[SEGMENTS[0] :].any()


def test_nothing_is_seen_ahead(longest_dense: int) -> None:
    changed = _changed(PLAIN, slice(-1, None))
    assert not changed[:-1].any()
    assert changed[-1]


def test_what_follows_a_prefix_is_seen_by_nothing_else(longest_dense: int) -> None:
    """Neither by the prefix, nor by another conversation that goes on from it."""
    for piece in Layout(SHARED).pieces:
        # A prefix is where its group starts, and is seen by more than itself.
        if any(piece.start == each.prefix_start and each.prefix for each in Layout(SHARED).pieces):
            continue
        expected = torch.zeros(_tokens(SHARED), dtype=torch.bool)
        expected[_whole(piece)] = True
        assert torch.equal(_changed(SHARED, slice(piece.start, piece.start + 1)), expected)


def test_a_prefix_is_seen_by_all_of_its_group_and_by_no_other(longest_dense: int) -> None:
    start = 0
    for group in SHARED:
        expected = torch.zeros(_tokens(SHARED), dtype=torch.bool)
        if group.prefix:
            # Its last token, so that the prefix's own earlier ones must stay what they are.
            last = start + group.prefix - 1
            expected[last : start + group.tokens] = True
            assert torch.equal(_changed(SHARED, slice(last, last + 1)), expected)
        start += group.tokens


def test_a_row_whose_groups_do_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="32 tokens are not the 6 of the row's layout"):
        _attended(_qkv(), _turn(), [Group(0, (5, 1))])


def test_a_graphics_processor_is_given_no_row_that_shares() -> None:
    layout = Layout([Group(4, (20, 8))])
    with pytest.raises(ValueError, match="share no prefix"):
        attend_varlen(_qkv(), _turn(), layout, HEADS)
