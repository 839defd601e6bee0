from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pty_session import PtySession

from heed.terminal.watcher import Pace, PlainWatcher, QuietWatcher

_LIVE = """
import time
from heed.terminal.watcher import watching
with watching(False) as watcher:
    watcher.plan("supervised [bold]tuning[/bold]", {"steps": "40"})
    for done in range(1, 31):
        watcher.advance(done, 40, f"loss {done / 10:.1f} [red]")
        time.sleep(0.03)
    watcher.say("a sample: \\x1b]0;owned\\x07 [green]text[/green]")
    watcher.alarm("KL is high")
    time.sleep(0.4)
print("the result")
"""


def test_time_left_is_that_of_an_even_pace() -> None:
    now = 100.0
    pace = Pace(20, lambda: now)
    assert pace.left(100) is None
    now = 110.0
    pace.advance(25)  # 5 units in 10 s: 75 more take 150 s
    assert pace.left(100) == pytest.approx(150.0)
    now = 116.0  # the clock runs on within a unit
    assert pace.left(100) == pytest.approx(144.0)
    assert pace.passed == pytest.approx(16.0)


def test_a_log_gets_about_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = PlainWatcher()
    for done in range(1, 1001):
        watcher.advance(done, 1000, f"loss {done}")
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[-1] == "1,000/1,000  loss 1000"


def test_work_that_is_soon_over_has_no_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    watcher = PlainWatcher(2.0, lambda: now)
    for done in range(1, 101):
        watcher.advance(done, 100, "")
        now += 0.01
    assert capsys.readouterr().err == ""
    for done in range(1, 101):
        watcher.advance(done, 100, "")
        now += 0.1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "21/100, 8 s left"  # ten a second
    assert lines[-1] == "100/100"


def test_a_second_piece_of_work_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = PlainWatcher()
    for _ in range(2):
        for done in (1, 2):
            watcher.advance(done, 2, "")
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["1/2", "2/2", "1/2", "2/2"]


def test_quiet_lets_only_alarms_through(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = QuietWatcher()
    watcher.plan("plan", {"steps": "3"})
    watcher.advance(1, 2, "line")
    watcher.say("word")
    watcher.alarm("fire \x1b[2J")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "alarm: fire ␛[2J\n")


def test_a_terminal_gets_a_live_bar_and_what_is_said_stays_text(tmp_path: Path) -> None:
    with PtySession([sys.executable, "-c", _LIVE], tmp_path) as session:
        assert session.end() == 0
    shown = session.text()
    assert "supervised [bold]tuning[/bold]" in shown
    assert "30/40" in shown
    assert "s left" in shown
    assert "loss 3.0 [red]" in shown
    assert "a sample: ␛]0;owned␇ [green]text[/green]" in shown
    assert b"\x1b]0;owned" not in session.raw
    assert "alarm: KL is high" in shown
    # The last figures stay where the bar stood, and the result comes after it.
    assert shown.index("ended 30/40 in") < shown.index("the result")
