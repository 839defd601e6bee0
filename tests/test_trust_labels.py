"""The figures of labels: their rows on small crowds, and that both programs aggregate the same votes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import trust_labels
from common import Report, Row

pytestmark = pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setenv("HEED_DATA", str(tmp_path / "none"))
    return Report("part", io.StringIO(), io.StringIO(), None)


def row(report: Report, begin: str) -> Row:
    return next(row for row in report.rows if row.what.startswith(begin))


def test_published_alphas_are_met_and_missing_data_is_told(report: Report) -> None:
    trust_labels.published(report)
    trust_labels.real_crowd("rte", 0.925, report)
    assert row(report, "published: alpha").met is True
    assert "is not there" in row(report, "Duck").skipped
    assert "is not there" in row(report, "rte").skipped


def test_a_printed_figure_that_comes_out_otherwise_is_counted(report: Report) -> None:
    trust_labels.add_differing("x", {"a": 0.7434, "b": 0.8156}, {"a": 0.743, "b": 0.815}, report)
    assert (report.rows[0].value, report.rows[0].met) == (1, False)


def test_camps_are_said_to_be_undecidable_and_turned_by_known_labels(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_labels, "CAMP_SEEDS", (0, 1))
    whole = trust_labels.camps
    monkeypatch.setattr(trust_labels, "camps", lambda seed: whole(seed, items=80, raters=15))
    trust_labels.opposed_camps(report)
    assert row(report, "60 % turned, nothing known").value == 1.0
    assert (row(report, "60 % turned, 10 known").value or 0) > 0.85
    votes, truth = whole(3, items=80, raters=15)
    right = votes.label == truth[votes.item]
    shares = np.array([right[votes.rater == rater].mean() for rater in range(15)])
    assert ((shares < 0.5) == (np.arange(15) < 9)).all()


def test_both_programs_aggregate_the_same_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("VOTES", 4000), ("RATERS", 20), ("REPEATS", 1), ("ITERATIONS", 6)):
        monkeypatch.setattr(trust_labels, name, value)
    mine, theirs = trust_labels.time_heed(), trust_labels.time_crowd_kit()
    assert mine["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.01)
    assert len(mine["seconds"]) == len(theirs["seconds"]) == 1
    assert mine["with_table"][0] > mine["seconds"][0]
