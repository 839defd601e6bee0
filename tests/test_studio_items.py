"""What a project has sampled, as items of the studio: once, with what people said of it by ``heed ask``."""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heed.feedback import asked, queue
from heed.feedback.forms import default_form
from heed.feedback.kinds import Comparison
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import items as items_table
from heed.project import Project
from heed.questions import open_items
from heed.studio_items import ItemsFromRuns, items_from_runs

sys.path.insert(0, str(Path(__file__).parent / "terminal"))
from judged_project import make_project

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path):
    # Equal texts are no question.
    pairs = [("yes", "no"), ("up", "down"), ("same", "same"), ("a\x00b", "in")]
    with Project(make_project(tmp_path / "project", pairs)) as opened:
        yield opened


def test_every_sampled_pair_becomes_an_item_once_and_counts_what_was_said_of_it(project):
    store = project.store
    store.add_raters([("ann", "human", "")])
    item = open_items(project)[1]
    said = Comparison(
        rater="ann", prompt_id=item.prompt.id, completion_ids=(item.b.id, item.a.id), created=NOW, choice="a"
    )
    store.add_answer(said)
    question = store.write(lambda c: asked.create_question(c, "which", default_form(), "lead", NOW)).id
    rng = random.Random(0)
    assert items_from_runs(project, question, NOW, rng) == ItemsFromRuns(3, 0, 1)
    assert items_from_runs(project, question, NOW, rng) == ItemsFromRuns(0, 3, 0)
    with store.reading() as connection:
        rows = {tuple(row.completion_ids): row for row in connection.execute(items_table.select())}
    assert {pair: row.answers for pair, row in rows.items()}[item.a.id, item.b.id] == 1
    assert sum(row.level for row in rows.values()) == 1
    assert len({row.source for row in rows.values()}) == 1
    # Who answered one by the command is asked about the others alone.
    claimed = store.write(lambda c: queue.claim(c, Rater("ann"), question, NOW, rng, 1))
    assert isinstance(claimed, queue.Claimed)
    assert claimed.showings[0].prompt_id != item.prompt.id


def test_judgments_given_by_the_command_later_are_counted_the_next_time(project):
    store = project.store
    store.add_raters([("ann", "human", "")])
    question = store.write(lambda c: asked.create_question(c, "which", default_form(), "lead", NOW)).id
    items_from_runs(project, question, NOW, random.Random(0))
    for item in open_items(project):
        pair = (item.a.id, item.b.id)
        store.add_answer(
            Comparison(rater="ann", prompt_id=item.prompt.id, completion_ids=pair, created=NOW, choice="tie")
        )
    assert items_from_runs(project, question, NOW, random.Random(0)).counted == 3
