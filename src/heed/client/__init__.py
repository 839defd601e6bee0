"""A small client of the studio's API.

    from heed.client import Client

    with Client("https://feedback.example.org", token="heed_...") as studio:
        question = next(one["id"] for one in studio.questions() if one["name"] == "Which reply?")
        studio.add_items(question, ({"prompt": p, "completions": [a, b]} for p, a, b in mine))
        studio.export("feedback.jsonl")

Whatever the network does, a call is done once: it is sent again with the same idempotency key until there is an answer.
Errors of the server are heed's own (:mod:`heed.errors`), with what is wrong, why, and what to do about it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from heed.client.values import Exported, ItemsAdded, Showing
from heed.errors import (
    ConfigError,
    ConflictError,
    DataError,
    HeedError,
    LimitError,
    MissingError,
    ProjectError,
    RefusedError,
    SignInError,
)

__all__ = ["Client", "Exported", "ItemsAdded", "Showing"]

T = TypeVar("T")

_ERRORS: dict[int, type[HeedError]] = {
    401: SignInError,
    403: RefusedError,
    404: MissingError,
    409: ConflictError,
    429: LimitError,
}
_SENT_AGAIN = {429, 502, 503, 504}
_ITEMS_AT_ONCE = 500
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0
_PIECE = 1 << 18


class Client:
    """A connection to a studio.

    Args:
        url: of the server, such as ``https://feedback.example.org``.
        token: an API token; made under Settings, with the scopes that the calls need: "rate", "read", "manage".
        timeout: seconds to wait for an answer before asking again.
        tries: how often a call is sent before its error is raised.
        insecure: let the token go over plain HTTP to another machine, where everybody on the way can read it.

    Raises:
        ConfigError: the URL is none, or plain HTTP to another machine.
    """

    def __init__(self, url: str, token: str, timeout: float = 30.0, tries: int = 6, *, insecure: bool = False) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"the URL {url[:200]!r}", "it is no address of a server.", "Write https://HOST.")
        if parts.scheme == "http" and not insecure and not _is_this_machine(parts.hostname):
            raise ConfigError(
                f"the URL {url[:200]!r}",
                "the token would go over the network readable.",
                "Use https, or insecure=True.",
            )
        self._tries = tries
        self._http = httpx.Client(
            base_url=f"{parts.scheme}://{parts.netloc}",
            headers={"Authorization": f"Bearer {token}", "User-Agent": "heed-client"},
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    # Judging: scope "rate"

    def questions(self) -> list[dict[str, Any]]:
        """The questions that are open or paused, each a dictionary.

        Returns:
            Of each ``id``, ``name``, ``title``, ``state`` ("open" or "paused"), ``answered`` (how many items this account has
            answered) and ``needs``: what comes before its items, "guidelines" (see :meth:`acknowledge_guidelines`),
            "qualification" (a test, begun by ``POST /api/v1/qualification/{question_id}/attempts``) or None.
        """
        found: list[dict[str, Any]] = self._get("/api/v1/questions")["questions"]
        return found

    def guidelines(self) -> dict[str, Any]:
        """The newest guidelines: ``version`` (0: there are none), ``text`` (markdown), ``note``, ``created``, ``acknowledged``."""
        return self._get("/api/v1/guidelines")

    def acknowledge_guidelines(self, version: int) -> None:
        """Say that one has read the guidelines and will go by them; without it no items are given.

        Args:
            version: which were read, from :meth:`guidelines`.

        Raises:
            ConflictError: there are newer ones.
        """
        self._send("POST", "/api/v1/guidelines/acknowledgements", {"version": version})

    def next(self, question_id: str) -> Showing | None:
        """What to judge next; asked again before it is answered, the same. None: there is nothing now."""
        held = self._send("POST", f"/api/v1/questions/{_part(question_id)}/showings")["showings"]
        return Showing.of(held[0]) if held else None

    def answer(
        self,
        showing: Showing | str,
        answer: Mapping[str, Any],
        confidence: float | None = None,
        seconds: float = 0.0,
        note: str = "",
    ) -> dict[str, Any] | None:
        """Answer an item.

        Args:
            showing: which.
            answer: by field, in the order shown: ``{"better": {"choice": "left", "strength": 2}}``.
            confidence: 0 to 1.
            seconds: how long it took.
            note: for the lead.

        Returns:
            What a training item explains; None otherwise.

        Raises:
            DataError: it is no answer to the form. ConflictError: it was answered otherwise, or the place is taken.
        """
        body = {
            "answer": dict(answer),
            "confidence": confidence,
            "seconds": seconds,
            "active_seconds": seconds,
            "note": note,
        }
        told: dict[str, Any] | None = self._send("POST", f"{_showing(showing)}/answer", body)["feedback"]
        return told

    def skip(self, showing: Showing | str, reason: str = "") -> None:
        """Leave an item to others."""
        self._send("POST", f"{_showing(showing)}/skip", {"reason": reason})

    def flag(self, showing: Showing | str, note: str = "") -> None:
        """Tell the lead that something is wrong with an item."""
        self._send("POST", f"{_showing(showing)}/flag", {"note": note})

    def undo(self, question_id: str) -> Showing:
        """Open the newest answer for a change; it stands until another is sent."""
        return Showing.of(self._send("POST", f"/api/v1/questions/{_part(question_id)}/undo")["showing"])

    # Leading: scopes "read" and "manage"

    def people(self) -> dict[str, Any]:
        """Everybody with what is known of their answers: ``{"people": [...]}``, one dictionary for each person.

        Of each ``name``, ``kind``, ``group``, ``account``, ``role``, ``state``, ``excluded``, ``statistics`` (counts, speed,
        agreement, accuracy) and ``warnings``, as for ``GET /api/v1/board/people/{name}``.
        """
        return self._get("/api/v1/board/people")

    def overview(self) -> dict[str, Any]:
        """Progress and agreement: ``{"overview": {...}, "days": [...]}``.

        ``overview`` holds ``questions`` (progress of each), ``agreement`` (of each field), ``gates``, ``active``,
        ``open_flags``, ``disputed`` and ``warnings``; ``days`` counts the answers of the last two weeks, day by day.
        """
        return self._get("/api/v1/board/overview")

    def add_items(
        self,
        question_id: str,
        items: Iterable[Mapping[str, Any]],
        progress: Callable[[int], None] = lambda sent: None,
        skip: int = 0,
    ) -> ItemsAdded:
        """Add items to a question, some hundred at a time. What is there already stays as it is.

        Args:
            question_id: which question.
            items: each with the fields of a line of an items file: ``prompt``, ``completions``, ``external_id``, ...
            progress: called with how many have been sent for good.
            skip: pass over so many first; after a break, what ``progress`` was told last.

        Returns:
            Counts, and broken items by their place in ``items``.
        """
        path = f"/api/v1/questions/{_part(question_id)}/items"
        done = ItemsAdded()
        left = islice(items, skip, None)
        sent = skip
        while chunk := [dict(item) for item in islice(left, _ITEMS_AT_ONCE)]:
            answer = self._send("POST", path, {"items": chunk})
            done.added += answer["added"]
            done.duplicates += answer["duplicates"]
            done.broken += [(sent + one["place"], one["reason"]) for one in answer["broken"]]
            done.ignored.update(answer.get("ignored", {}))
            sent += len(chunk)
            progress(sent)
        return done

    def import_file(
        self,
        path: str | Path,
        kind: Literal["items", "feedback"],
        question_id: str = "",
        format: str = "auto",
        rater: str = "import",
    ) -> dict[str, Any]:
        """Upload a file and wait until it is read; the job, with its report.

        Raises:
            DataError: the file cannot be read, or the job failed, with the reason.
        """
        file = Path(path)
        query = {"kind": kind, "question_id": question_id, "format": format, "rater": rater, "name": file.name}
        # Sent again as a whole: what has gone in by then is not put in twice.
        response = self._ask("POST", "/api/v1/imports", params=query, file=file)
        return self.wait(response.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """One import or export."""
        return self._get(f"/api/v1/jobs/{_part(job_id)}")

    def wait(self, job_id: str, every: float = 0.5) -> dict[str, Any]:
        """Wait until a job has ended; looks again ``every`` so many seconds.

        Raises:
            DataError: it failed or was stopped, with the reason.
        """
        while True:
            job = self.job(job_id)
            if job["state"] == "done":
                return job
            if job["state"] in ("failed", "stopped"):
                raise DataError(f"job {job_id}", job["error"] or f"it was {job['state']}.", "Look at it on the board.")
            time.sleep(every)

    def export(
        self,
        path: str | Path,
        what: Literal["feedback", "answers"] = "feedback",
        format: str = "",
        question_id: str = "",
        excluded: Literal["", "keep", "leave"] = "",
    ) -> Exported:
        """Write all feedback, or all answers of the studio, to a file: whole or not at all; what was left out is counted.

        A Python warning names what was left out, with reasons, for programs that do not look at what is returned.

        Args:
            path: where to.
            what: judgments, or answers with how they were shown.
            format: heed (the default), csv, trl or hh for feedback; lines or csv for answers.
            question_id: of this question alone.
            excluded: what people said who are excluded from training; "" keeps it in heed's own lines and leaves it out of
                the other formats. For feedback only.

        Returns:
            Size of the file, rows written, and rows left out by reason.

        Raises:
            DataError: the file cannot be written, or nothing is written in this format. MissingError: no such question.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:12]}.partial")
        query = {"what": what, "format": format, "question_id": question_id}
        query |= {"excluded": excluded} if excluded else {}
        try:
            done = self._repeat(lambda: self._download(query, partial))
            os.replace(partial, target)
        except OSError as error:
            raise DataError(f"cannot write {target}", f"{error.strerror}.", "Choose another place.") from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        if done.left_out:
            reasons = "; ".join(f"{count} {reason}" for reason, count in done.left_out.items())
            told = f"{target}: {done.written} rows written, {sum(done.left_out.values())} left out: {reasons}"
            warnings.warn(told, stacklevel=2)
        return done

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Whatever else the API answers to a GET; see docs/api.md."""
        return self._get(path, query)

    def send(self, method: Literal["POST", "PUT", "PATCH", "DELETE"], path: str, body: Any = None) -> dict[str, Any]:
        """Whatever else the API can be told; see docs/api.md. Done once, however often it has to be sent."""
        return self._send(method, path, body)

    # How

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", path, params=query).json()
        return found

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = self._ask(method, path, json=body).json()
        return found

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        file: Path | None = None,
    ) -> httpx.Response:
        headers = {} if method == "GET" else {"Idempotency-Key": uuid.uuid4().hex}

        def once() -> httpx.Response:
            if file is None:
                return _checked(self._http.request(method, path, params=params, json=json, headers=headers))
            try:
                with file.open("rb") as stream:
                    given = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
                    content = iter(lambda: stream.read(_PIECE), b"")
                    return _checked(self._http.request(method, path, params=params, content=content, headers=given))
            except OSError as error:
                raise DataError(f"cannot read {file}", f"{error.strerror}.", "Check the path.") from None

        return self._repeat(once)

    def _download(self, query: Mapping[str, str], partial: Path) -> Exported:
        with self._http.stream("GET", "/api/v1/export", params=query) as response, partial.open("wb") as file:
            if response.status_code != 200:
                response.read()
            _checked(response)
            for piece in response.iter_bytes(_PIECE):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        # Counted while it was sent: what its header names knows it now that all is here.
        report = self.job(response.headers["heed-job"])["report"]
        return Exported(size, report["written"], report["left_out"], report["dropped_fields"], report["of_excluded"])

    def _repeat(self, once: Callable[[], T]) -> T:
        wait = _FIRST_WAIT
        for left in reversed(range(self._tries)):
            try:
                return once()
            except _AgainError as error:
                if not left:
                    raise error.mended from None
            except httpx.TransportError as error:
                if not left:
                    raise ProjectError(
                        f"the server {self._http.base_url}",
                        f"it cannot be reached ({type(error).__name__}).",
                        "Check the address, and that heed serve runs.",
                    ) from None
            time.sleep(wait)
            wait = min(_LONGEST_WAIT, 2 * wait)
        raise ConfigError("tries", "no try is left to be made.", "Let it be 1 or more.")


class _AgainError(Exception):
    """The server could not answer now; ``mended`` is what to raise where it never can."""

    def __init__(self, mended: HeedError) -> None:
        super().__init__(str(mended))
        self.mended = mended


def _checked(response: httpx.Response) -> httpx.Response:
    """``response``, if it says that it worked."""
    if response.is_success:
        return response
    error = _error_of(response)
    if response.status_code in _SENT_AGAIN:
        raise _AgainError(error)
    raise error


def _error_of(response: httpx.Response) -> HeedError:
    try:
        told = response.json()["error"]
        what, why, fix = (str(told[name]) for name in ("what", "why", "fix"))
    except (ValueError, KeyError, TypeError):
        what, why = f"the server's answer {response.status_code}", "it is not one of heed."
        fix = "Check that the URL is that of heed serve."
    if response.status_code >= 500:
        return ProjectError(what, why, fix)
    return _ERRORS.get(response.status_code, DataError)(what, why, fix)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _part(name: str) -> str:
    return quote(name, safe="")


def _showing(showing: Showing | str) -> str:
    return f"/api/v1/showings/{_part(showing if isinstance(showing, str) else showing.id)}"
