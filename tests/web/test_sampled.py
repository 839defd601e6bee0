"""What the project samples becomes work for raters, once, and what was judged elsewhere is not asked again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from site_of_tests import copy_project
from sqlalchemy import select

from heed.feedback import asked, studio_schema
from heed.feedback.forms import default_form
from heed.feedback.kinds import Comparison, completion_id
from heed.feedback.records import CompletionRecord
from heed.project import Cost, Project
from heed.web.studio.sampled import QUESTION, ask_about_samples

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def project(empty_project, tmp_path):
    with Project(copy_project(empty_project, tmp_path / "project")) as opened:
        yield opened


def sample(project: Project, texts: list[str], turn: int = 1) -> list[str]:
    """A run that sampled ``texts`` for each of two prompts; ids of the completions."""
    run = project.begin_run("sample", {}, 0, round=turn)
    prompts = project.store.add_prompts([(f"prompt {n} of {turn}", "train", "t") for n in range(2)])
    made = [
        CompletionRecord(completion_id(prompt, text, f"{run.id}/{k}"), prompt, text, run.id, k)
        for prompt in prompts
        for k, text in enumerate(texts)
    ]
    project.store.add_completions(made)
    run.finish({}, Cost())
    return [record.id for record in made]


def rows(project: Project):
    with project.store.reading() as connection:
        return connection.execute(select(studio_schema.items).order_by(studio_schema.items.c.number)).all()


def test_pairs_become_items_of_a_question_that_is_made_for_them(project):
    ids = sample(project, ["one", "two", "three", "three"])
    done = ask_about_samples(project, NOON)
    # Of four samples there are two pairs; the second has equal texts and is no question.
    assert [row.completion_ids for row in rows(project)] == [ids[:2], ids[4:6]]
    assert (done.added, done.duplicates) == (2, 0)
    with project.store.reading() as connection:
        question = asked.question_named(connection, QUESTION)
    assert question is not None
    assert question.form.instructions == project.settings.raters.guidelines


def test_later_samples_are_added_and_nothing_twice(project):
    sample(project, ["one", "two"])
    ask_about_samples(project, NOON)
    sample(project, ["three", "four"], turn=2)
    done = ask_about_samples(project, NOON)
    assert (done.added, done.duplicates) == (2, 2)
    assert len(rows(project)) == 4


def test_what_somebody_judged_in_the_terminal_counts_as_an_answer(project):
    ids = sample(project, ["one", "two"])
    prompt = project.store.completions(ids=ids[:1])[0].prompt_id
    said = Comparison(rater="ann", prompt_id=prompt, completion_ids=tuple(ids[:2]), choice="a", created=NOON)
    project.store.add_answer(said)
    assert ask_about_samples(project, NOON).counted == 1
    assert [row.answers for row in rows(project)] == [1, 0]


def test_leads_who_ask_otherwise_are_left_alone(project):
    project.store.write(lambda c: asked.create_question(c, "our own", default_form(), "lead", NOON))
    sample(project, ["one", "two"])
    assert ask_about_samples(project, NOON).added == 0
    assert rows(project) == []


def test_a_closed_question_takes_no_more(project):
    sample(project, ["one", "two"])
    ask_about_samples(project, NOON)
    sample(project, ["three", "four"], turn=2)

    def close(connection):
        table = studio_schema.questions
        connection.execute(table.update().where(table.c.name == QUESTION).values(state="closed"))

    project.store.write(close)
    ask_about_samples(project, NOON)
    assert len(rows(project)) == 2
