"""A scorer of texts on another machine: ``{"query": [texts]}`` goes there by POST, ``{"rewards": [numbers]}`` comes back.

The protocol of OpenRLHF's remote reward models. What answers is somebody else's program: it may be slow, broken or hostile,
and nothing but as many finite numbers as there were texts gets past here.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import httpx

from heed.errors import DataError, TrainingError
from heed.texts import cut, shown

TEXTS_AT_ONCE = 64
_LONGEST_WAIT = 30.0
_MOST_REDIRECTS = 3
_ANSWER_BYTES, _NUMBER_BYTES = 64 * 1024, 64
"""The longest answer: so much, and so much more for each text (bytes)."""
_LARGEST = 1e38  # float32, in which rewards are computed, ends a little above
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}


class _AnotherTry(Exception):  # noqa: N818  it is no error until the tries are used up
    """The same request may go well in a while; ``wait`` is how long the server asks for (seconds; 0: it does not say)."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class RemoteScorer:
    """Scores texts by one URL.

    No proxy and no credentials of the environment are used: texts go to the host that the URL names and to no other.

    Args:
        name: what errors call it.
        url: http or https.
        seconds: for one try, from connecting to the last byte of the answer (seconds).
        attempts: tries before it is given up (count).
        token: bearer token; "" sends none.
        first_wait: pause before the second try (seconds); each further one is twice as long.
    """

    def __init__(
        self, name: str, url: str, seconds: float = 10.0, attempts: int = 5, token: str = "", first_wait: float = 0.5
    ) -> None:
        self.name, self.url, self.seconds, self.attempts, self.first_wait = name, url, seconds, attempts, first_wait
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # what is packed could be larger than its limit
            "User-Agent": "heed",
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """Rewards [N] of ``texts`` [N].

        Raises:
            TrainingError: it cannot be reached or fails, however often it is tried. DataError: what it answers is not as
                many finite numbers, or it sends elsewhere.
        """
        if not texts:
            return []
        # In a thread of its own: whoever calls may have an event loop already, as notebooks have.
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(asyncio.run, self._scores(texts)).result()

    async def _scores(self, texts: Sequence[str]) -> list[float]:
        found: list[float] = []
        async with httpx.AsyncClient(
            headers=self._headers, timeout=self.seconds, follow_redirects=False, trust_env=False
        ) as client:
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                found += await self._tried(client, list(texts[start : start + TEXTS_AT_ONCE]))
        return found

    async def _tried(self, client: httpx.AsyncClient, texts: list[str]) -> list[float]:
        """The rewards of one request, tried again with growing pauses while that may help."""
        body = json.dumps({"query": texts}).encode()
        reason = ""
        for attempt in range(self.attempts):
            try:
                # A limit of httpx begins anew with every byte: this one does not.
                async with asyncio.timeout(self.seconds):
                    answer = await self._post(client, body, _ANSWER_BYTES + _NUMBER_BYTES * len(texts))
                return self._numbers(answer, len(texts))
            except _AnotherTry as fault:
                reason, wait = fault.reason, fault.wait
            except (TimeoutError, httpx.TimeoutException):
                reason, wait = f"it has not answered within {self.seconds:g} s", 0.0
            except httpx.RequestError as error:
                reason, wait = f"the connection failed ({type(error).__name__})", 0.0
            if attempt + 1 < self.attempts:
                await asyncio.sleep(min(_LONGEST_WAIT, max(wait, self.first_wait * 2**attempt)))
        raise TrainingError(
            f"scorer '{self.name}' at {self._place}",
            f"{reason}; tried {self.attempts} times.",
            "Start it or mend it, and give the same command again: training goes on from its last checkpoint.",
        )

    async def _post(self, client: httpx.AsyncClient, body: bytes, most: int) -> bytes:
        url = self.url
        for _ in range(_MOST_REDIRECTS + 1):
            async with client.stream("POST", url, content=body) as response:
                if response.status_code in (307, 308):
                    url = self._same_place(url, response.headers.get("location", ""))
                    continue
                return await self._body(response, most)
        self._refuse(f"it redirects more than {_MOST_REDIRECTS} times.")
        return None

    async def _body(self, response: httpx.Response, most: int) -> bytes:
        if response.status_code in _WORTH_ANOTHER_TRY:
            raise _AnotherTry(f"it answers {response.status_code}", _seconds(response.headers.get("retry-after", "")))
        if response.headers.get("content-encoding", "identity") != "identity":
            self._refuse("its answer is compressed, which was not asked for.")
        found = b""
        async for piece in response.aiter_raw():
            found += piece
            if len(found) > most:
                self._refuse(f"its answer is longer than {most:,} bytes.")
        if not 200 <= response.status_code < 300:
            told = cut(" ".join(found.decode("utf-8", errors="replace").split()), 200)
            self._refuse(f"it answers {response.status_code}{f': {told}' if told else ''}.")
        return found

    def _same_place(self, url: str, location: str) -> str:
        """Where a redirect leads, if that is the same scheme, host and port: the texts and the token go nowhere else."""
        try:
            target = urljoin(url, location)
            old, new = urlsplit(url), urlsplit(target)
            same = (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port)
        except ValueError:
            same = False
        if not (location and same and "@" not in new.netloc):
            self._refuse(f"it redirects to {shown(location)}, which is another place.")
        return target

    def _numbers(self, answer: bytes, count: int) -> list[float]:
        try:
            values = json.loads(answer, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            self._refuse(f"its answer is no JSON ({cut(str(error))}).")
        rewards = values.get("rewards") if isinstance(values, dict) else None
        if not isinstance(rewards, list):
            self._refuse(f'its answer is {shown(values)}, not {{"rewards": [numbers]}}.')
        if len(rewards) != count:
            self._refuse(f"it gives {len(rewards):,} rewards for {count:,} texts.")
        for place, value in enumerate(rewards):
            if type(value) not in (int, float) or not abs(value) <= _LARGEST:
                self._refuse(f"reward {place} is {shown(value)}, not a finite number.")
        return [float(value) for value in rewards]

    @property
    def _place(self) -> str:
        """The URL without its query, which may hold a key."""
        return self.url.partition("?")[0]

    def _refuse(self, why: str) -> NoReturn:
        raise DataError(
            f"scorer '{self.name}' at {self._place}",
            why,
            'It must answer {"query": [texts]} with {"rewards": [numbers]}, one finite number a text.',
        )


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _seconds(header: str) -> float:
    """The seconds of a Retry-After header; 0 where it names none, or a date."""
    value = float(header) if header.strip().isdecimal() and len(header) < 10 else 0.0
    return value if math.isfinite(value) else 0.0


def joined(prompt: Any, completion: str) -> str:
    """A prompt with its completion as one text, as scorers of whole conversations read it."""
    if isinstance(prompt, str):
        return prompt + completion
    return "\n".join([*(f"{turn.role}: {turn.content}" for turn in prompt), f"assistant: {completion}"])
