from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from judged_project import make_project

from heed.errors import DataError
from heed.feedback.kinds import Comparison
from heed.project import Project
from heed.rounds import Rounds
from heed.terminal.judge import Answer, JudgeSession, check_rater
from heed.train.progress import Watcher


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    make_project(tmp_path / "p", [(f"good {n}", f"bad {n}") for n in range(40)])
    with Project.open(tmp_path / "p") as opened:
        yield opened


def session_of(project: Project, rater: str = "ann") -> JudgeSession:
    items = Rounds(project, Watcher()).open_items(rater=rater)
    return JudgeSession(project.store, rater, items, seed=0)


def stored(project: Project, superseded: bool = False) -> list[Comparison]:
    found = [entry.feedback for entry in project.store.feedback(include_superseded=superseded)]
    assert all(isinstance(feedback, Comparison) for feedback in found)
    return found  # type: ignore[return-value]


def test_the_text_that_was_chosen_is_the_one_that_is_stored(project: Project) -> None:
    """Whoever always takes the text that says "good" has chosen a or b by where it was, left or right by the shuffle."""
    session = session_of(project)
    sides = []
    while session.current is not None:
        sides.append("left" if session.current.left.startswith("good") else "right")
        session.answer(Answer(sides[-1], 2), seconds=1.5)
    texts = {record.id: record.text for record in project.store.completions()}
    answers = stored(project)
    assert len(answers) == 40
    for feedback, side in zip(answers, sides, strict=True):
        chosen = feedback.completion_ids[{"a": 0, "b": 1}[feedback.choice]]
        assert texts[chosen].startswith("good")
        assert feedback.shown_order is not None
        shown = [texts[feedback.completion_ids[place]] for place in feedback.shown_order]
        assert shown[{"left": 0, "right": 1}[side]] == texts[chosen]
        assert (feedback.strength, feedback.seconds, feedback.rater) == (2, 1.5, "ann")
    assert 8 <= sides.count("left") <= 32  # of 40 fair coins; outside with probability 0.0001


def test_two_sessions_of_a_seed_show_the_same_sides_and_another_rater_sees_others(project: Project) -> None:
    def sides(rater: str) -> list[bool]:
        session, seen = session_of(project, rater), []
        while session.current is not None:
            seen.append(session.current.left_is_a)
            session.skip()
        return seen

    assert sides("ann") == sides("ann")
    assert sides("ann") != sides("bob")
    assert not project.store.feedback()


@pytest.mark.parametrize(("side", "choice"), [("tie", "tie"), ("both_bad", "both_bad")])
def test_answers_without_a_winner(project: Project, side: str, choice: str) -> None:
    session_of(project).answer(Answer(side), 0.5)  # type: ignore[arg-type]
    assert [feedback.choice for feedback in stored(project)] == [choice]


def test_undo_supersedes_and_keeps_the_old_answer_until_then(project: Project) -> None:
    session = session_of(project)
    first = session.answer(Answer("left"), 1.0)
    assert session.undo()
    assert session.current is not None
    assert session.current.supersedes == first
    assert [feedback.id for feedback in stored(project)] == [first]  # leaving now would keep it
    second = session.answer(Answer("tie"), 2.0)
    assert [feedback.id for feedback in stored(project)] == [second]
    assert {feedback.id for feedback in stored(project, superseded=True)} == {first, second}
    assert (session.saved, session.corrected) == (1, 1)
    assert session.current is not None
    assert session.current.supersedes is None


def test_undo_goes_back_step_by_step_and_an_answer_returns_to_the_new_items(project: Project) -> None:
    session = session_of(project)
    ids = [session.answer(Answer("left"), 1.0) for _ in range(3)]
    front = session.current
    assert front is not None
    for expected in reversed(ids):
        assert session.undo()
        assert session.current is not None
        assert session.current.supersedes == expected
    assert not session.undo()
    corrected = session.answer(Answer("right"), 1.0)
    assert session.current is not None
    assert session.current.item == front.item
    # Corrected again, the correction is what is superseded.
    for _ in range(3):
        session.undo()
    assert session.current is not None
    assert session.current.supersedes == corrected


def test_undo_reaches_the_sessions_before(project: Project) -> None:
    earlier = [session_of(project).answer(Answer("left"), 1.0) for _ in range(2)]
    session = session_of(project)
    assert len(session.items) == 38
    now = session.answer(Answer("left"), 1.0)
    seen = []
    while session.undo():
        assert session.current is not None
        seen.append(session.current.supersedes)
    assert seen == [now, *reversed(earlier)]


def test_two_sessions_of_a_rater_leave_one_answer_to_each_pair(project: Project) -> None:
    one, other = session_of(project), session_of(project)
    first = [one.answer(Answer("left"), 1.0) for _ in range(3)]
    assert other.answer(Answer("right"), 1.0) is None
    assert (other.saved, other.elsewhere, other.judged) == (0, 1, 1)
    assert other.undo(), "what was said in the other session can be corrected in this one"
    assert other.current is not None
    assert other.current.supersedes == first[0]
    assert other.answer(Answer("tie"), 1.0) is not None
    other.leave_out_judged()
    assert other.current is not None
    assert (other.judged, other.current.item) == (3, one.items[3])
    for _ in range(3):
        assert one.undo()
    assert one.answer(Answer("both_bad"), 1.0) is None, "the other session has corrected it already"
    assert (one.saved, one.corrected, other.corrected) == (3, 0, 1)
    assert [feedback.choice for feedback in stored(project)].count("tie") == 1
    assert len(stored(project)) == 3


def test_sessions_of_two_raters_know_nothing_of_each_other(project: Project) -> None:
    one, other = session_of(project), session_of(project, "bob")
    assert one.answer(Answer("left"), 1.0)
    assert other.answer(Answer("left"), 1.0)
    assert (one.elsewhere, other.elsewhere) == (0, 0)


def test_a_skipped_item_comes_again_another_time_and_a_skipped_correction_leaves_the_answer(project: Project) -> None:
    session = session_of(project)
    skipped = session.current
    session.skip()
    kept = session.answer(Answer("left"), 1.0)
    session.undo()
    session.skip()
    assert [feedback.id for feedback in stored(project)] == [kept]
    assert (session.saved, session.skipped, session.corrected) == (1, 1, 0)
    again = session_of(project)
    assert skipped is not None
    assert again.current is not None
    assert again.current.item == skipped.item


def test_a_person_cannot_answer_under_a_name_that_is_not_a_persons(project: Project) -> None:
    project.store.add_raters([("robot", "judge", ""), ("eve", "human", "")])
    check_rater(project.store, "eve", ["gauge"])
    check_rater(project.store, "new", ["gauge"])
    for name, kind in (("robot", "judge"), ("gauge", "simulated")):
        with pytest.raises(DataError, match=f"it is a {kind} rater"):
            check_rater(project.store, name, ["gauge"])
    for name, fault in (
        (" ", "name is empty"),
        ("x" * 201, "201 characters"),
        ("\udcff", "cannot be printed"),
        ("..", "step of"),
    ):
        with pytest.raises(DataError, match=fault):
            check_rater(project.store, name, [])
