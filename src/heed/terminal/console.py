"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from heed.terminal.text import counted, safe
from heed.texts import cut

if TYPE_CHECKING:
    from rich.console import Console

    from heed.errors import HeedError
    from heed.feedback.formats import BrokenRow

EXIT_STOPPED = 130
"""As the shell says of a program that Ctrl-C ended."""
_BROKEN_SHOWN, _REASON_SHOWN = 20, 300
_ERROR_SHOWN = 1000
"""Characters of a part of an error, so that no value from outside fills the screen."""
_PIPE_WIDTH = 100_000
"""Columns of an output that is no terminal: a table in a pipe is for grep and must not be cut to 80."""


@cache
def console(stderr: bool = False) -> Console:
    """The console of standard output or standard error. It reads no markup, so that text stays text."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


def note(text: str) -> None:
    """One line for the person at the keyboard, on standard error; ``text`` may come from anywhere."""
    console(stderr=True).print(safe(text))


def print_error(error: HeedError) -> None:
    """What is wrong, why, and the way out: three lines on standard error."""
    from rich.text import Text

    for label, text, style in (
        ("error", error.what, "bold red"),
        ("why", error.why, "yellow"),
        ("fix", error.fix, "green"),
    ):
        shown = safe(cut(text, _ERROR_SHOWN)).replace("\n", " ")
        line = Text(f"{label + ':':<7}", style=style).append(shown, style="default not bold")
        console(stderr=True).print(line)


def report_broken(path: Path, broken: Sequence[BrokenRow]) -> None:
    """Name rows that cannot be used by their lines, the first ones in full, on standard error."""
    for row in broken[:_BROKEN_SHOWN]:
        note(f"{path}, line {row.line}: {cut(row.reason, _REASON_SHOWN)}")
    if len(broken) > _BROKEN_SHOWN:
        note(f"{path}: {counted(len(broken) - _BROKEN_SHOWN, 'more broken row')}")
