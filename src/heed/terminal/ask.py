"""``heed ask``: the judge. One key an answer in a terminal, one line an answer in a pipe."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from heed.errors import DataError, ProjectError
from heed.feedback.kinds import PromptContent
from heed.terminal.console import console
from heed.terminal.judge import Answer, JudgeSession, check_rater
from heed.terminal.keys import Keyboard
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, ConsoleRenderable, RenderResult, ScreenContext
    from rich.segment import Segment
    from rich.text import Text

    from heed.rounds import Rounds

ANSWERS: dict[str, Answer] = {
    "l": Answer("left"), "left": Answer("left"),
    "r": Answer("right"), "right": Answer("right"),
    "t": Answer("tie"), "tie": Answer("tie"),
    "b": Answer("both_bad"), "both bad": Answer("both_bad"), "both_bad": Answer("both_bad"),
    "1": Answer("left", 3), "2": Answer("left", 2), "3": Answer("left", 1),
    "8": Answer("right", 1), "9": Answer("right", 2), "0": Answer("right", 3),
}  # fmt: skip
"""Keys and words. The digits lie on the keyboard as the answers lie on the screen: the further out, the clearer."""

_SKIP, _UNDO, _QUIT, _HELP = ("s", "skip"), ("u", "undo", "backspace"), ("q", "quit", "eof"), ("?", "h", "help")

_HELP_LINES = (
    ("l or ←   r or →", "the left, the right one is better"),
    ("1 2 3", "left is better: by far, clearly, slightly"),
    ("8 9 0", "right is better: slightly, clearly, by far"),
    ("t", "tie: equally good"),
    ("b", "both are bad"),
    ("s", "skip: not now"),
    ("u", "undo: answer the one before again, as often as you like"),
    ("↑ ↓ space", "scroll"),
    ("q", "quit; every answer is saved at once, and the next time goes on from here"),
)
_SCROLL = {
    "up": (-1, 0),
    "k": (-1, 0),
    "down": (1, 0),
    "j": (1, 0),
    "page up": (0, -1),
    "page down": (0, 1),
    "space": (0, 1),
}
"""Lines and pages that a key scrolls by."""

_ELSEWHERE = "you have judged this pair in another session meanwhile; that answer stands, undo shows it again"

_SIDE_BY_SIDE_WIDTH = 72
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Brief:
    """What stands around the items.

    Attributes:
        guidelines: what the rater is asked.
        before: items this rater has judged in earlier sessions (count).
        open: items that wait for this rater in all, those beyond this session's limit included (count).
    """

    guidelines: str
    before: int
    open: int


def judge(stages: Rounds, rater: str, limit: int | None) -> None:
    """Let a person judge the project's open pairs.

    Args:
        stages: of the project.
        rater: the person's name.
        limit: pairs in this session (count); None is all.

    Raises:
        ProjectError: nothing has been sampled. DataError: the name is that of a rater who is no person.
    """
    project, settings = stages.project, stages.project.settings.raters
    check_rater(project.store, rater, [entry.name for entry in [*settings.simulated, *settings.held_out]])
    items = stages.open_items(rater=rater)
    if not items and project.latest("sample") is None:
        raise ProjectError("nothing to judge", "no completions have been sampled.", "Run 'heed sample' first.")
    before = len(project.store.feedback(kinds=["comparison"], raters=[rater]))
    session = JudgeSession(project.store, rater, items[:limit], project.settings.seed)
    ask(session, Brief(settings.guidelines, before, len(items)))


def ask(session: JudgeSession, brief: Brief) -> None:
    """Ask until nothing is left or the rater quits; by keys in a terminal, by lines elsewhere.

    Raises:
        DataError: a line of a pipe is no answer; the answers before it are saved.
        KeyboardInterrupt: Ctrl-C; the answers given are saved.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    try:
        if interactive:
            _ask_by_keys(session, brief)
        else:
            _ask_by_lines(session, brief, sys.stdin, sys.stdout)
    finally:
        print(_summary(session, brief), flush=True)


def _summary(session: JudgeSession, brief: Brief) -> str:
    parts = [f"{counted(session.saved, 'answer')} saved"]
    if session.corrected:
        parts.append(f"{session.corrected:,} corrected")
    if session.skipped:
        parts.append(f"{session.skipped:,} skipped")
    if session.elsewhere:
        parts.append(f"{session.elsewhere:,} answered in another session meanwhile")
    left = brief.open - session.judged
    rest = f"{counted(left, 'pair')} left: heed ask goes on from here." if left else "Nothing is left to judge."
    return f"{', '.join(parts)}. {rest}"


# Lines


def _ask_by_lines(session: JudgeSession, brief: Brief, answers: TextIO, out: TextIO) -> None:
    out.write(safe(brief.guidelines) + "\n" + "answers: left, right, tie, both bad; skip, undo, quit; help\n")
    number = 0
    while session.current is not None:
        showing = session.current
        place = "again" if showing.supersedes else f"{brief.before + session.judged + 1} of {brief.before + brief.open}"
        out.write(f"\n[{place}]\n{_prompt_lines(showing.item.prompt.content)}\n")
        for side, text in (("left", showing.left), ("right", showing.right)):
            out.write(f"{side}:\n{textwrap.indent(safe(text), '  ')}\n")
        out.flush()
        began = time.monotonic()
        while True:
            line = answers.readline()
            number += 1
            word = line.strip().lower()
            if word or not line:
                break
        if not line or word in _QUIT:
            return
        if word in ANSWERS:
            stored = session.answer(ANSWERS[word], time.monotonic() - began)
            # What else was judged there is asked all the same: the lines of a pipe were written for these pairs.
            out.write(f"saved {stored}\n" if stored else f"not saved: {_ELSEWHERE}\n")
        elif word in _SKIP:
            session.skip()
        elif word in _UNDO:
            if not session.undo():
                out.write("nothing to undo\n")
        elif word in _HELP:
            out.writelines(f"  {keys:<16} {meaning}\n" for keys, meaning in _HELP_LINES)
        else:
            raise DataError(
                f"line {number} of the answers: {line.strip()!r}",
                "it is no answer; what follows may be meant for other pairs.",
                "Use left, right, tie, both bad, skip, undo or quit, one a line; what came before it is saved.",
            )


def _prompt_lines(content: PromptContent) -> str:
    if isinstance(content, str):
        return f"prompt:\n{textwrap.indent(safe(content), '  ')}"
    return "\n".join(f"{turn.role}:\n{textwrap.indent(safe(turn.content), '  ')}" for turn in content)


# Keys


def _ask_by_keys(session: JudgeSession, brief: Brief) -> None:
    if session.current is None:
        return
    with console().screen(hide_cursor=True) as screen, Keyboard() as keyboard:
        view = _View(session, brief)
        if _show_help(screen, keyboard, view) in _QUIT:
            return
        while session.current is not None:
            showing, began = session.current, time.monotonic()
            view.top = 0
            keyboard.forget()  # a key pressed twice by mistake must not answer what nobody has seen yet
            screen.update(view)
            while session.current is showing:
                key = (_wait(keyboard) or "").lower()
                if key in _QUIT:
                    return
                if key in _HELP:
                    paused = time.monotonic()
                    _show_help(screen, keyboard, view)
                    began += time.monotonic() - paused
                else:
                    _act(key, session, view, time.monotonic() - began)
                if session.current is showing:
                    screen.update(view)


def _show_help(screen: ScreenContext, keyboard: Keyboard, view: _View) -> str:
    """Guidelines and keys, until a key is pressed; the key, so that none of them is taken for an answer."""
    view.help, view.top = True, 0
    while True:
        screen.update(view)
        key = _wait(keyboard)
        if key in ("down", "page down"):
            view.top += 1
        elif key in ("up", "page up"):
            view.top -= 1
        elif key is not None:
            view.help, view.top = False, 0
            return key


def _wait(keyboard: Keyboard) -> str | None:
    """The next key, or None when the terminal has another size and wants to be drawn anew."""
    size = console().size
    while True:
        key = keyboard.read(_POLL_SECONDS)
        if key is not None or console().size != size:
            return key


def _act(key: str, session: JudgeSession, view: _View, seconds: float) -> None:
    """Do what ``key`` stands for; no key, "", is a terminal that has changed its size."""
    if not key:
        return
    view.notice = ""
    if key in ANSWERS:
        correction = session.current is not None and session.current.supersedes is not None
        stored = session.answer(ANSWERS[key], seconds)
        view.notice = "corrected" if correction else "saved"
        if not stored:
            view.notice = f"not saved: {_ELSEWHERE}"
            session.leave_out_judged()
    elif key in _SKIP:
        session.skip()
        view.notice = "skipped"
    elif key in _UNDO:
        view.notice = "" if session.undo() else "nothing to undo"
    elif key in _SCROLL:
        lines, pages = _SCROLL[key]
        view.top += lines + pages * view.page
    else:
        view.notice = f"{safe(key)} is no answer; ? shows the keys"


class _View:
    """The whole screen: as much of the item as fits, and the keys and the progress under it."""

    def __init__(self, session: JudgeSession, brief: Brief) -> None:
        self.top = 0
        self.page = 1
        self.help = False
        self.notice = ""
        self._session, self._brief = session, brief

    def __rich_console__(self, terminal: object, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        width, height = console().size
        frame = options.update(width=width, height=None)
        foot = console().render_lines(self._foot(width), frame)
        head = console().render_lines(self._head(), frame)
        room = max(1, height - len(head) - len(foot))
        body = console().render_lines(self._help() if self.help else self._item(width), frame)
        self.page = max(1, room - 2)
        self.top = max(0, min(self.top, len(body) - room))
        shown = body[self.top : self.top + room]
        empty = [[Segment(" " * width)]] * (room - len(shown))
        below = len(body) - self.top - len(shown)
        if below or self.top:
            shown = [*shown[:-1], self._more(width, below)]
        lines = [*head, *shown, *empty, *foot][:height]
        for number, line in enumerate(lines):
            yield from line
            if number < len(lines) - 1:
                yield Segment.line()

    def _more(self, width: int, below: int) -> list[Segment]:
        from rich.segment import Segment
        from rich.style import Style

        text = f"  ↓ {counted(below + 1, 'more line')} (space, ↓)" if below else "  ↑ the beginning (page up, ↑)"
        return [Segment(text.ljust(width)[:width], Style(reverse=True))]

    def _head(self) -> Text:
        from rich.text import Text

        question = " ".join(safe(self._brief.guidelines).split())
        return Text(question, style="bold", overflow="ellipsis", no_wrap=True)

    def _item(self, width: int) -> ConsoleRenderable:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        showing = self._session.current
        if showing is None:
            return Text("")
        prompt = Panel(_prompt_text(showing.item.prompt.content), title=Text("prompt"), border_style="dim")
        sides = [
            Panel(Text(safe(text)), title=Text(name), border_style=colour)
            for name, text, colour in (("left", showing.left, "cyan"), ("right", showing.right, "magenta"))
        ]
        if width < _SIDE_BY_SIDE_WIDTH:
            return Group(prompt, *sides)
        columns = Table.grid(expand=True)
        columns.add_column(ratio=1)
        columns.add_column(ratio=1)
        columns.add_row(*sides)
        return Group(prompt, columns)

    def _help(self) -> ConsoleRenderable:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        keys = Table.grid(padding=(0, 3))
        for names, meaning in _HELP_LINES:
            keys.add_row(Text(names, style="bold"), Text(meaning))
        return Group(
            Panel(Text(safe(self._brief.guidelines)), title=Text("guidelines"), border_style="cyan"),
            Panel(keys, title=Text("keys"), border_style="dim"),
            Text(f"You judge as {safe(self._session.rater)}. Any key goes on.", style="bold"),
        )

    def _foot(self, width: int) -> ConsoleRenderable:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        session, brief = self._session, self._brief
        done, total = brief.before + session.judged, brief.before + brief.open
        again = session.current is not None and session.current.supersedes is not None
        state = "undo: answer again, or s keeps the answer" if again else self.notice
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_row(ProgressBar(total=max(total, 1), completed=done), Text(f"{done:,} of {total:,} judged"))
        keys = Text("l left   r right   t tie   b both bad", style="bold")
        if width >= _SIDE_BY_SIDE_WIDTH:
            keys.append("      1 2 3 ◂ by how much ▸ 8 9 0", style="not bold")
        keys.append("\ns skip   u undo    ? keys  q quit", style="not bold dim")
        return Group(Text(state, style="yellow", no_wrap=True, overflow="ellipsis"), keys, bar)


def _prompt_text(content: PromptContent) -> Text:
    from rich.text import Text

    if isinstance(content, str):
        return Text(safe(content))
    text = Text()
    for number, turn in enumerate(content):
        text.append("\n" if number else "").append(f"{turn.role}  ", style="bold").append(safe(turn.content))
    return text
