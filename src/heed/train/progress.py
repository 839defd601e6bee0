"""What a training loop tells whoever is watching, and how it is asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Watcher:
    """Receives what a stage has to say. This one is silent; the command line and tests bring their own."""

    def plan(self, title: str, lines: dict[str, str]) -> None:
        """What is going to be done, before it starts."""

    def advance(self, done: int, total: int, line: str) -> None:
        """``done`` of ``total`` units of work are behind us; ``line`` has the live figures."""

    def say(self, text: str) -> None:
        """Something worth reading once: a sample text, a self-check that passed."""

    def alarm(self, text: str) -> None:
        """Something that needs a person's attention."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, has saved its state, and goes on when the same command is given again."""


@dataclass
class StopFlag:
    """Whether the user has asked the run to stop."""

    asked: bool = False


@contextmanager
def stop_on_interrupt() -> Iterator[StopFlag]:
    """Turn the first Ctrl-C into a flag that the loop looks at between steps; a second one interrupts at once.

    Outside the main thread signals cannot be caught; the flag then never rises.
    """
    flag = StopFlag()

    def handle(number: int, frame: FrameType | None) -> None:
        if flag.asked:
            raise KeyboardInterrupt
        flag.asked = True

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:
        yield flag
        return
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
