"""Statistics of raters against the digits that are in print."""

from __future__ import annotations

import numpy as np
import pytest

from heed.raters.agreement import krippendorff_alpha
from heed.raters.kappa import cohen_kappa, fleiss_kappa
from heed.raters.labels import dawid_skene
from heed.raters.votes import Votes

ANAESTHETISTS = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|122 2 1 1 1|333 3 4 3 3|222 2 2 2 3
232 2 2 2 3|444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|111 1 1 1 1|111 1 1 1 1
222 2 2 2 1|222 1 3 2 2|222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|111 1 1 1 1|111 1 1 1 1|232 2 2 2 2
111 1 1 1 1|111 1 1 1 1|112 1 1 2 1|111 1 1 1 1|333 3 2 3 3|111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3
221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1|111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2
"""
"""Dawid & Skene 1979, table 1: 45 patients, five observers, the first of whom judged each three times."""


def anaesthetists() -> Votes:
    votes = [
        (patient, observer, answer)
        for patient, line in enumerate(ANAESTHETISTS.replace("\n", "|").strip("|").split("|"))
        for observer, answers in enumerate(line.split())
        for answer in answers
    ]
    return Votes.of(*zip(*votes, strict=True))


def test_dawid_and_skenes_own_data_give_their_tables() -> None:
    """Two digits are the paper's; four are those of its equations, iterated to the end by other programs."""
    votes = anaesthetists()
    assert votes.shape == (45, 5, 4)
    assert votes.size == 45 * 7
    found = dawid_skene(votes, smoothing=0, pooling=0, iterations=2000, tolerance=1e-12)
    assert found.prior == pytest.approx([0.3996, 0.4220, 0.1118, 0.0667], abs=1e-4)
    assert np.diag(found.confusion[0]) == pytest.approx([0.889, 0.876, 0.661, 0.444], abs=1e-3)
    assert np.round(found.prior, 2).tolist() == [0.40, 0.42, 0.11, 0.07]
    assert np.round(found.confusion[0], 2).tolist() == [
        [0.89, 0.11, 0.0, 0.0],
        [0.07, 0.88, 0.05, 0.0],
        [0.0, 0.34, 0.66, 0.0],
        [0.0, 0.0, 0.56, 0.44],
    ]
    assert found.converged


PSYCHIATRISTS = """
0 0 0 0 14/0 2 6 4 2/0 0 3 5 6/0 3 9 2 0/2 2 8 1 1/7 7 0 0 0/3 2 6 3 0/2 5 3 2 2/6 5 2 1 0/0 2 2 3 7
"""
"""The worked example of the Wikipedia article "Fleiss' kappa": 14 raters, 10 subjects, 5 classes (counts)."""


def test_fleiss_kappa_of_the_worked_example() -> None:
    counts = [[int(cell) for cell in line.split()] for line in PSYCHIATRISTS.strip().split("/")]
    judgments = [
        (item, label) for item, row in enumerate(counts) for label, times in enumerate(row) for _ in range(times)
    ]
    items, values = zip(*judgments, strict=True)
    assert round(fleiss_kappa(items, values).estimate or 0.0, 3) == 0.210


def test_cohens_kappa_of_the_grant_proposals() -> None:
    """The worked example of the Wikipedia article "Cohen's kappa": 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second).estimate == pytest.approx(0.4)


def test_alpha_of_the_three_coders_as_ranks() -> None:
    """The example of the Wikipedia article "Krippendorff's alpha"; its ordinal alpha is computed, not printed there."""
    table = """
    . . . . . 3 4 1 2 1 1 3 3 . 3
    1 . 2 1 3 3 4 3 . . . . . . .
    . . 2 1 3 4 4 . 2 1 1 3 3 . 4
    """
    lines = [line.split() for line in table.strip().splitlines()]
    cells = [(i, r, float(v)) for r, line in enumerate(lines) for i, v in enumerate(line) if v != "."]
    found = krippendorff_alpha(*(list(column) for column in zip(*cells, strict=True)), "ordinal")
    assert found.estimate == pytest.approx(0.8067, abs=5e-5)
