"""Packing, padding, grouping and micro-batches of ragged token sequences."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heed.models.batch import TokenBatch, microbatches, pad_rows, take_rows

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def numbered(lengths: list[int]) -> TokenBatch:
    """Every token a number of its own."""
    tokens = iter(range(sum(lengths)))
    return TokenBatch.of([[next(tokens) for _ in range(n)] for n in lengths])


def test_packs_end_to_end() -> None:
    batch = TokenBatch.of([[5, 6], [7], [8, 9, 10]])
    assert batch.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert batch.lengths == (2, 1, 3)
    assert batch.starts == (0, 2, 3)
    assert batch.positions.tolist() == [0, 1, 0, 0, 1, 2]
    assert list(batch.span(2, 1, 3)) == [4, 5]


@pytest.mark.parametrize("sequences", [[], [[]], [[1], []]])
def test_empty_sequences_are_refused(sequences: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        TokenBatch.of(sequences)


def test_padded_on_both_sides() -> None:
    batch = TokenBatch.of([[5, 6], [7, 8, 9]])
    ids, mask = batch.padded("right", fill=0)
    assert ids.tolist() == [[5, 6, 0], [7, 8, 9]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    ids, mask = batch.padded("left", fill=4)
    assert ids.tolist() == [[4, 5, 6], [7, 8, 9]]
    assert mask.tolist() == [[0, 1, 1], [1, 1, 1]]


def test_a_real_token_that_equals_the_fill_is_not_padding() -> None:
    _, mask = TokenBatch.of([[0, 0], [0, 0, 0]]).padded("right", fill=0)
    assert mask.sum() == 5


@given(LENGTHS)
def test_groups_cover_every_token_once_and_in_order(lengths: list[int]) -> None:
    batch = numbered(lengths)
    seen: list[int] = []
    for group in batch.groups:
        if group.tokens is None or group.places is None:
            assert len(set(lengths)) == 1
            assert (group.rows, group.width) == (len(lengths), lengths[0])
            seen += range(sum(lengths))
            continue
        seen += group.tokens.tolist()
        grid = torch.full((group.rows * group.width,), -1)
        grid[group.places] = batch.ids[group.tokens]
        for row in grid.view(group.rows, group.width).tolist():
            real = [token for token in row if token >= 0]
            assert row[: len(real)] == real, "padding is on the right"
            start = batch.starts.index(real[0])
            assert real == list(batch.span(start, 0, lengths[start])), "a row is one whole sequence"
    assert sorted(seen) == list(range(sum(lengths)))
    assert len(batch.groups) <= 4


@given(LENGTHS)
def test_grouping_never_pads_more_than_one_group_would(lengths: list[int]) -> None:
    padded = sum(group.rows * group.width for group in numbered(lengths).groups)
    assert sum(lengths) <= padded <= len(lengths) * max(lengths)


def test_one_long_row_among_short_ones_gets_a_group_of_its_own() -> None:
    groups = numbered([2, 40, 2, 2]).groups
    assert sorted((g.rows, g.width) for g in groups) == [(1, 40), (3, 2)]


@given(LENGTHS, st.integers(1, 60))
def test_microbatches_keep_order_and_limit(lengths: list[int], limit: int) -> None:
    pieces = list(microbatches(lengths, limit))
    assert [row for piece in pieces for row in piece] == list(range(len(lengths)))
    for piece in pieces:
        assert len(piece) == 1 or sum(lengths[row] for row in piece) <= limit
    for piece, following in itertools.pairwise(pieces):
        assert sum(lengths[row] for row in piece) + lengths[following[0]] > limit, "no piece could have taken one more"


@given(st.permutations(range(7)), st.integers(1, 7))
def test_take_and_pad_rows_equal_indexing_with_gradient(order: list[int], kept: int) -> None:
    places = torch.tensor(order[:kept])
    rows = torch.randn(7, 2, 3, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(take_rows(rows, places), rows[places])
    few = rows[:kept].detach().requires_grad_()
    padded = pad_rows(few, places, 9)
    assert torch.equal(padded[places], few)
    assert padded.abs().sum(dim=(1, 2)).count_nonzero() == kept
    assert torch.autograd.gradcheck(lambda x: take_rows(x, places), rows)
    assert torch.autograd.gradcheck(lambda x: pad_rows(x, places, 9), few)
