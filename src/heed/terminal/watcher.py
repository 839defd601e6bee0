"""Watchers that show a stage at work: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from heed.terminal.console import EXIT_STOPPED, console, note
from heed.terminal.text import duration, safe
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_LINES_A_STAGE = 10
_REFRESHES_PER_SECOND = 4


class Pace:
    """Time passed and time left of one piece of work, told from what has been done since this process took it up."""

    def __init__(self, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._first, self._start = clock, done, clock()
        self._latest = self._start
        self._done = done

    def advance(self, done: int) -> None:
        """``done`` units are behind us now."""
        self._done, self._latest = done, self._clock()

    @property
    def passed(self) -> float:
        """Seconds since this process took the work up."""
        return self._clock() - self._start

    def left(self, total: int) -> float | None:
        """Seconds until ``total`` units are done; None while no unit has been timed."""
        timed = self._done - self._first
        if timed <= 0:
            return None
        expected = (self._latest - self._start) / timed * (total - self._done)
        return max(0.0, expected - (self._clock() - self._latest))


class QuietWatcher(Watcher):
    """Says nothing but alarms: what needs a person's attention is never left out."""

    def alarm(self, text: str) -> None:
        note(f"alarm: {text}")

    def close(self) -> None:
        """End what is shown live; called when the command ends, however it ends."""


class PlainWatcher(QuietWatcher):
    """For logs and pipes: a line about every tenth of the work, on standard error.

    Args:
        wait: seconds that a piece of work takes before the first line; what is over sooner needs none.
        clock: seconds that go on.
    """

    def __init__(self, wait: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._wait, self._clock = wait, clock
        self._pace: Pace | None = None
        self._tenth = -1
        self._done = 0

    def plan(self, title: str, lines: dict[str, str]) -> None:
        note(f"{title}: " + "; ".join(f"{name} {value}" for name, value in lines.items()))
        self._pace = None

    def advance(self, done: int, total: int, line: str) -> None:
        if self._pace is None or done < self._done:
            self._pace, self._tenth = Pace(done, self._clock), -1
        self._pace.advance(done)
        self._done = done
        if self._pace.passed < self._wait:
            return
        tenth = done * _LINES_A_STAGE // max(total, 1)
        if tenth == self._tenth:
            return
        self._tenth = tenth
        left = self._pace.left(total)
        rest = "" if left is None or done >= total else f", {duration(left)} left"
        note(f"{done:,}/{total:,}{rest}" + (f"  {line}" if line else ""))
        if done >= total:
            self._pace = None

    def say(self, text: str) -> None:
        note(text)


class RichWatcher(QuietWatcher):
    """For a terminal: the plan as a table, then a bar with the time left and the live figures under it.

    What is said and alarms are printed above the bar and stay.
    """

    def __init__(self) -> None:
        self._live: Live | None = None
        self._pace = Pace(0)
        self._done, self._total, self._line = 0, 1, ""

    def plan(self, title: str, lines: dict[str, str]) -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        self.close()
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for name, value in lines.items():
            table.add_row(Text(safe(name)), Text(safe(value)))
        screen = self._console()
        screen.print(Text(safe(title), style="bold"))
        screen.print(Padding(table, (0, 0, 1, 2)))

    def advance(self, done: int, total: int, line: str) -> None:
        if self._live is None or done < self._done:
            self.close()
            self._begin(done)
        self._pace.advance(done)
        self._done, self._total, self._line = done, max(total, 1), line
        if done >= total:
            self.close()

    def say(self, text: str) -> None:
        self._console().print(safe(text))

    def alarm(self, text: str) -> None:
        from rich.text import Text

        self._console().print(Text("alarm: ", style="bold red").append(safe(text), style="red not bold"))

    def close(self) -> None:
        """End the live bar; where it stood a plain line with the last figures stays."""
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        ended = "done" if self._done >= self._total else "ended"
        line = f"{ended} {self._done:,}/{self._total:,} in {duration(self._pace.passed)}"
        self._console().print(safe(f"{line}  {self._line}".rstrip()), style="dim")

    def _console(self) -> Console:
        return console(stderr=True)

    def _begin(self, done: int) -> None:
        from rich.live import Live

        self._pace = Pace(done)
        # Transient: the bar is not a result, only the last figures are.
        self._live = Live(
            get_renderable=self._bar,
            console=self._console(),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,  # results go where they are asked for, not through the console of the bar
        )
        self._live.start()

    def _bar(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        left = self._pace.left(self._total)
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(ratio=1)
        for _ in range(3):
            row.add_column(no_wrap=True, justify="right")
        row.add_row(
            ProgressBar(total=self._total, completed=self._done),
            Text(f"{self._done:,}/{self._total:,}"),
            Text(duration(self._pace.passed), style="dim"),
            Text("" if left is None else f"{duration(left)} left", style="cyan"),
        )
        return Group(row, Text(safe(self._line), style="bold", overflow="ellipsis", no_wrap=True))


@contextmanager
def watching(quiet: bool, wait: float = 0.0) -> Iterator[QuietWatcher]:
    """The watcher that fits where standard error goes, closed at the end; in a log it says nothing of work before ``wait`` seconds.

    A stage that Ctrl-C stopped has saved its state, or had nothing yet to save: the command ends with exit code 130 and
    says so.
    """
    if quiet:
        watcher = QuietWatcher()
    elif sys.stderr.isatty():
        watcher = RichWatcher()
    else:
        watcher = PlainWatcher(wait)
    try:
        yield watcher
    except KeyboardInterrupt:  # also Stopped, its kind for a stage that has saved its state
        watcher.close()
        note("stopped; the same command goes on from here")
        raise typer.Exit(EXIT_STOPPED) from None
    finally:
        watcher.close()
