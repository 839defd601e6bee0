"""Watchers that stop a run from within, as somebody at the keyboard would."""

from __future__ import annotations

import signal

from heed.train.progress import Watcher


class StopAt(Watcher):
    """Presses Ctrl-C in a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, done: int, total: int, line: str) -> None:
        if done == self.step:
            signal.raise_signal(signal.SIGINT)
