"""How far to trust whom, counted beside everything else: each process keeps one :class:`TrustWatch` of its database.

It takes seconds where there are a hundred thousand answers. So it is counted only when somebody looks, off the event loop, of the
answers that the board's watch has read already; nobody waits for it who can be shown what was found a moment ago, and it never
takes more than a twentieth of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, select

from heed.feedback.schema import raters
from heed.lazily import np
from heed.raters.columns import Answers
from heed.raters.contested import Contested, contested_items
from heed.raters.judged import judged_of
from heed.raters.trust import Trust, trust_of
from heed.web.board.watch import watch_of
from heed.web.desk import Desk

_SHARE_OF_TIME = 20
_MOST_CONTESTED = 200


@dataclass(frozen=True)
class Found:
    """What was found, and when. ``contested`` may hold items that have been settled since."""

    trust: Trust
    contested: tuple[Contested, ...]
    made: datetime


class TrustWatch:
    """Finds out how far to trust whom, for all who ask.

    Args:
        desk: the way to the database.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = asyncio.Lock()
        self._found: Found | None = None
        self._of: tuple[object, ...] = ()
        self._rest_until = 0.0

    async def found(self, now: datetime) -> Found:
        """What is known of the answers as they are now, or were a moment ago."""
        if self._found is not None and (self._lock.locked() or time.monotonic() < self._rest_until):
            return self._found
        async with self._lock:
            answers = (await watch_of(self._desk).numbers(now)).answers
            groups = await self._desk.read(_groups)
            state = (answers.size, float(answers.created.sum()), tuple(sorted(groups.items())))
            if self._found is None or state != self._of:
                begun = time.monotonic()
                self._found = await asyncio.to_thread(_find, answers, groups, now)
                self._of = state
                self._rest_until = time.monotonic() + _SHARE_OF_TIME * (time.monotonic() - begun)
            return self._found


def _groups(connection: Connection) -> dict[str, str]:
    """The group of each rater who is in one."""
    rows = connection.execute(select(raters.c.name, raters.c.group_name).where(raters.c.group_name != ""))
    return {row.name: row.group_name for row in rows}


def _find(answers: Answers, groups: Mapping[str, str], now: datetime) -> Found:
    trust = trust_of(answers, groups)
    weight = np.array([trust.raters[name].weight for name in answers.raters])
    contested = contested_items(answers, judged_of(answers), weight, dict(groups), most=_MOST_CONTESTED)
    return Found(trust, tuple(contested), now)


_WATCHES: WeakKeyDictionary[Desk, TrustWatch] = WeakKeyDictionary()


def trust_watch_of(desk: Desk) -> TrustWatch:
    """The watch of a database in this process."""
    found = _WATCHES.get(desk)
    if found is None:
        found = _WATCHES[desk] = TrustWatch(desk)
    return found
