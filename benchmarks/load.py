"""Raters against a running heed server: each asks for an item, answers it, and asks again. Prints one line of JSON.

    python benchmarks/load.py PLAN.json

A process of its own, so that its work is not the server's, and as little work as can be: bare sockets that stay open, one
coroutine a rater, no client library. PLAN.json holds a :class:`Plan`. Every answer that the server acknowledged is written
to ``acknowledged`` at once, for whoever kills servers and counts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

_SHOWING = re.compile(rb'\{"id":"(s[0-9a-f]{32})"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ANSWER = b'{"answer":{"better":{"choice":"%s","strength":2}},"seconds":3.5,"active_seconds":3.0}'
_PATIENCE = 60.0
_AGAIN = 0.1


@dataclass(frozen=True)
class Plan:
    """What raters are to do.

    Attributes:
        host, port: of the server.
        question: id of the question.
        tokens: API token of each rater.
        every: seconds between the beginnings of a rater's turns; 0 as fast as they can.
        seconds: for how long.
        acknowledged: file for the ids of showings whose answers were acknowledged; "" for none.
        tries_again: whether a lost connection is no error, because somebody kills servers.
    """

    host: str
    port: int
    question: str
    tokens: tuple[str, ...]
    every: float = 1.0
    seconds: float = 10.0
    acknowledged: str = ""
    tries_again: bool = False


@dataclass
class Times:
    """What came of it: milliseconds of every request for an item and of every answer, and what went wrong."""

    next: list[float] = field(default_factory=list)
    submit: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost_connections: int = 0
    ran_dry: bool = False


class Rater:
    """One rater on one connection."""

    def __init__(self, plan: Plan, token: str, number: int, times: Times, log: TextIO | None) -> None:
        self._plan, self._times, self._log = plan, times, log
        self._head = (
            f"Host: {plan.host}:{plan.port}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        )
        self._choice = (b"left", b"right")[number % 2]
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes, float]:
        """Status, body and milliseconds of one request.

        Raises:
            OSError, EOFError: the connection was lost.
        """
        start = time.perf_counter()
        if self._writer is None or self._reader is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection(self._plan.host, self._plan.port)
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), _PATIENCE)
        found = _LENGTH.search(answer)
        content = await self._reader.readexactly(int(found[1])) if found else b""
        return int(answer[9:12]), content, (time.perf_counter() - start) * 1000

    async def work(self, start: float, end: float) -> None:
        """Take turns from ``start`` to ``end`` (seconds of ``time.perf_counter``)."""
        await asyncio.sleep(max(0.0, start - time.perf_counter()))
        while (begun := time.perf_counter()) < end and not self._times.ran_dry:
            try:
                await self.turn()
            except (TimeoutError, OSError, EOFError) as error:
                self.lose(error)
                await asyncio.sleep(_AGAIN)
            await asyncio.sleep(max(0.0, begun + self._plan.every - time.perf_counter()))

    async def turn(self) -> None:
        """Ask for an item and answer it."""
        status, body, spent = await self.post(f"/api/v1/questions/{self._plan.question}/showings", b"{}")
        if status != 200:
            self._times.errors.append(f"next: {status} {body[:200].decode(errors='replace')}")
            return
        self._times.next.append(spent)
        found = _SHOWING.search(body)
        if found is None:
            self._times.ran_dry = True
            return
        showing = found[1].decode()
        status, body, spent = await self.post(f"/api/v1/showings/{showing}/answer", _ANSWER % self._choice)
        if status != 200:
            self._times.errors.append(f"submit: {status} {body[:200].decode(errors='replace')}")
            return
        self._times.submit.append(spent)
        if self._log is not None:
            self._log.write(showing + "\n")
            self._log.flush()

    def lose(self, error: BaseException) -> None:
        """The connection is gone."""
        self._times.lost_connections += 1
        if not self._plan.tries_again:
            self._times.errors.append(f"connection: {error!r}")
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def run(plan: Plan, log: TextIO | None) -> tuple[Times, float]:
    """All raters at once, their turns spread over the time of one; what came of it, and the seconds that it took."""
    times = Times()
    begin = time.perf_counter() + 0.2
    raters = [Rater(plan, token, number, times, log) for number, token in enumerate(plan.tokens)]
    spread = (plan.every or 0.2) / len(raters)
    turns = (rater.work(begin + number * spread, begin + plan.seconds) for number, rater in enumerate(raters))
    await asyncio.gather(*turns)
    return times, time.perf_counter() - begin


def main(file: str) -> None:
    plan = Plan(**json.loads(Path(file).read_text(encoding="utf-8")))
    gc.disable()  # what is measured is the server
    with open(plan.acknowledged or os.devnull, "a", encoding="ascii") as log:
        times, seconds = asyncio.run(run(plan, log if plan.acknowledged else None))
    print(json.dumps(asdict(times) | {"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
