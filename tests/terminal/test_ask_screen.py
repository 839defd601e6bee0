"""``heed ask`` as a real process: in a pseudo-terminal, and in a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from judged_project import make_project
from pty_session import PtySession

from heed.feedback.kinds import Comparison
from heed.project import Project

HEED = [sys.executable, "-c", "from heed.cli import main; main()"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pairs = [(f"first of {n}\x1b]0;owned\x07", f"second of {n} [bold]loud[/bold]") for n in range(6)]
    return make_project(tmp_path / "p", pairs)


def answers(folder: Path, superseded: bool = False) -> list[Comparison]:
    with Project.open(folder) as project:
        found = [entry.feedback for entry in project.store.feedback(include_superseded=superseded)]
    return [feedback for feedback in found if isinstance(feedback, Comparison)]


def begin(session: PtySession, judged: int, key: str = " ") -> int:
    """Leave the guidelines and wait for the first pair, which has its prompt above it; what was read before.

    The guidelines have the same last line: who waited for it alone might press the next key before the pair is there.
    """
    seen = session.wait_for("Any key goes on")
    session.press(key)
    session.wait_for_both("─ prompt ─", f"{judged} of 6 judged", seen)
    return seen


def test_keys_answer_undo_and_survive_a_kill(folder: Path) -> None:
    with PtySession([*HEED, "ask", "--rater", "ann"], folder) as session:
        seen = begin(session, 0, "l")  # ends the guidelines, and is no answer
        session.press("l")
        seen = session.wait_for("1 of 6 judged", seen)
        session.press("\x1b[C")  # the right arrow
        seen = session.wait_for("2 of 6 judged", seen)
        session.press("u")
        seen = session.wait_for("undo: answer again", seen)
        session.press("1")
        seen = session.wait_for("corrected", seen)
        session.press("t")
        session.wait_for("3 of 6 judged", seen)
        os.kill(session.pid, signal.SIGKILL)
    given = answers(folder)
    assert len(given) == 3
    assert len(answers(folder, superseded=True)) == 4
    assert sorted(feedback.strength or 0 for feedback in given) == [0, 0, 3]
    assert all(feedback.seconds is not None and 0 < feedback.seconds < 60 for feedback in given)
    # What the model wrote stayed text.
    assert b"\x1b]0;owned" not in session.raw
    assert "␛]0;owned␇" in session.text()
    assert "[bold]loud[/bold]" in session.text()
    assert "Which one is [bold]clearer[/bold]?" in session.text()

    with PtySession([*HEED, "ask", "--rater", "ann"], folder, columns=60) as session:
        begin(session, 3)
        session.press("q")
        assert session.end() == 0
    assert "0 answers saved. 3 pairs left" in session.text()


def test_the_left_key_takes_what_stands_on_the_left(folder: Path) -> None:
    with PtySession([*HEED, "ask", "--rater", "ann", "--limit", "1"], folder, columns=60) as session:
        seen = begin(session, 0)
        shown = session.text(seen)
        session.press("l")
        assert session.end() == 0
    # On a narrow screen the left one stands above the right one.
    left = min(("first", "second"), key=lambda word: shown.index(f"{word} of"))
    (given,) = answers(folder)
    with Project.open(folder) as project:
        texts = {record.id: record.text for record in project.store.completions()}
    assert texts[given.completion_ids[{"a": 0, "b": 1}[given.choice]]].startswith(left)


def test_ctrl_c_leaves_the_terminal_as_it_was(folder: Path) -> None:
    script = (
        f"trap : INT; {sys.executable} -c 'from heed.cli import main; main()' ask --rater ann; echo code $?; stty -a"
    )
    with PtySession(["sh", "-c", script], folder) as session:
        seen = begin(session, 0)
        session.press("\x03")
        session.end()
    ended = session.text(seen)
    assert "0 answers saved" in ended
    assert "code 130" in ended
    settings = ended[ended.index("code 130") :].split()
    assert "icanon" in settings
    assert "echo" in settings
    assert b"\x1b[?1049l" in session.raw  # back from the alternate screen


def pipe(folder: Path, lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HEED, "ask", "--rater", "ann", *options], cwd=folder, input=lines, capture_output=True, text=True, timeout=60
    )


def test_lines_answer_in_a_pipe(folder: Path) -> None:
    done = pipe(folder, "left\n\nboth bad\nskip\nundo\nt\n3\n")
    assert done.returncode == 0, done.stderr
    assert "3 answers saved, 1 corrected, 1 skipped. 3 pairs left" in done.stdout
    assert "\x1b" not in done.stdout
    given = answers(folder)
    assert [feedback.strength for feedback in given] == [None, None, 1]
    assert sorted(feedback.choice for feedback in given if feedback.strength is None) == sorted(
        ["tie", given[0].choice]
    )
    assert "both_bad" in {feedback.choice for feedback in answers(folder, superseded=True)}


def test_a_line_that_is_no_answer_stops_before_the_answers_shift(folder: Path) -> None:
    done = pipe(folder, "left\nmaybe\nright\n")
    assert done.returncode == 2
    assert "line 2 of the answers: 'maybe'" in done.stderr
    assert len(answers(folder)) == 1


def test_nobody_answers_for_a_simulated_rater(folder: Path) -> None:
    done = subprocess.run([*HEED, "ask", "--rater", "gauge"], cwd=folder, input="l\n", capture_output=True, text=True)
    assert done.returncode == 2
    assert "it is a simulated rater" in done.stderr
    assert not answers(folder)


@pytest.mark.slow
def test_a_window_left_open_asks_no_more_for_what_was_judged_in_another_one(folder: Path) -> None:
    with PtySession([*HEED, "ask", "--rater", "ann"], folder) as session:
        seen = begin(session, 0)
        assert pipe(folder, "left\ntie\nb\n").returncode == 0
        before = answers(folder)
        session.press("r")
        shown = seen
        seen = session.wait_for("3 of 6 judged", seen)
        assert "not saved: you have judged this pair in another session" in session.text(shown)
        session.press("l")
        seen = session.wait_for("4 of 6 judged", seen)
        session.press("q")
        assert session.end() == 0
    assert "1 answer saved, 3 answered in another session meanwhile. 2 pairs left" in session.text()
    assert answers(folder)[:3] == before
    assert len(answers(folder)) == 4


def test_lines_of_two_pipes_store_each_pair_once_and_stay_with_their_pairs(folder: Path) -> None:
    """The second pipe is written for the same six pairs: its lines must not move to others."""
    command = [*HEED, "ask", "--rater", "ann"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdin is not None
        assert second.stdout is not None
        assert any("right:" in line for line in iter(second.stdout.readline, ""))
        assert pipe(folder, "left\n" * 4).returncode == 0
        told, _ = second.communicate("tie\n" * 6, timeout=60)
        assert second.returncode == 0
    assert told.count("not saved: you have judged this pair") == 4
    assert "2 answers saved, 4 answered in another session meanwhile. Nothing is left to judge." in told
    choices = [feedback.choice for feedback in answers(folder)]
    assert (len(choices), choices.count("tie")) == (6, 2)
    assert len({feedback.completion_ids for feedback in answers(folder)}) == 6
