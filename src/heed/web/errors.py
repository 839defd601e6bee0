"""Errors as answers: JSON for the API, a page for people. What went wrong inside stays in the log."""

from __future__ import annotations

import logging
import secrets

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

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
from heed.web.error_words import tell
from heed.web.language import language_for

_log = logging.getLogger("heed.web")


class StatusError(DataError):
    """An error whose status is known otherwise."""

    def __init__(self, what: str, why: str, fix: str, status: int, code: str) -> None:
        super().__init__(what, why, fix)
        self.status, self.code = status, code


class PausedError(RefusedError):
    """An account is paused and may not do this meanwhile."""

    def __init__(self) -> None:
        super().__init__("your account", "it is paused: you can read, but not answer.", "Ask the lead of the project.")


class RoleError(RefusedError):
    """Something is not for the role of whoever asks.

    Attributes:
        needed: the role that it takes, "lead" or "admin".
    """

    def __init__(self, role: str, needed: str) -> None:
        super().__init__("this", f"it is not for the role '{role}'.", "Ask a lead of the project.")
        self.needed = needed


STATUS: dict[type[HeedError], tuple[int, str]] = {
    DataError: (422, "invalid"),
    ConfigError: (422, "invalid"),
    SignInError: (401, "sign_in"),
    RefusedError: (403, "refused"),
    MissingError: (404, "missing"),
    ConflictError: (409, "conflict"),
    LimitError: (429, "limit"),
    ProjectError: (503, "unavailable"),
}
"""Status of HTTP and code for programs, by kind of error."""


def status_of(error: HeedError) -> tuple[int, str]:
    """Status of HTTP and code of an error; 500 where its kind is not one that a request can cause."""
    if isinstance(error, StatusError):
        return error.status, error.code
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500, "internal"


def told(error: HeedError) -> HeedError:
    """An error as callers may hear it: where the database is, with its address, stands in the log only."""
    if not isinstance(error, ProjectError) or not error.what.startswith("database "):
        return error
    _log.error("%s", error)
    # What follows a colon is the database's own message, which names its address.
    why = error.why.partition(":")[0].removesuffix(".")
    return ProjectError("the database", f"{why}.", "Try again later; if it stays, tell who runs heed.")


def problem(error: HeedError, request: Request) -> Response:
    """An error as the API tells it: for programs by its code, for people in their language, which a header names."""
    status, code = status_of(error)
    said = tell(told(error), language_for(request))
    document = {"error": {"what": said.what, "why": said.why, "fix": said.fix, "code": code}}
    return JSONResponse(document, status, {"content-language": said.language})


def problem_response(error: HeedError, request: Request) -> Response:
    """An error as an answer that needs nothing but itself, for where no page can be made yet."""
    if asked_for_json(request):
        return problem(error, request)
    said = tell(told(error), language_for(request))
    headers = {"content-language": said.language}
    return Response(f"{said.line}\n", status_of(error)[0], headers, media_type="text/plain; charset=utf-8")


def of_http(error: HTTPException, request: Request) -> HeedError:
    """What the framework raises by itself, as heed's own error of the same status."""
    if error.status_code == 404:
        return MissingError("this address", "there is nothing here.", "Check the link, or begin at the first page.")
    if error.status_code == 405 and not asked_for_json(request):
        why, fix = "it only takes what a form sends.", "Check the link, or begin at the first page."
        return StatusError("this address", why, fix, 405, "method")
    if error.status_code == 405:
        return StatusError("this address", "it does not know this method.", "See the API's reference.", 405, "method")
    return StatusError("the request", f"{error.detail}.", "Correct it.", error.status_code, "invalid")


def of_validation(error: RequestValidationError) -> HeedError:
    """The first fault of a request in one sentence; the value itself is not repeated, it may be a secret."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return DataError("the request's body", "it is not valid JSON.", "Correct it.")
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
    return DataError(
        f"'{place[:80]}'" if place else "the request's body", f"{message[:1].lower()}{message[1:]}.", "Correct it."
    )


def internal() -> HeedError:
    """What a caller learns of a fault inside: a number by which the person who runs the server finds it in the log."""
    number = secrets.token_hex(4)
    _log.exception("fault %s", number)
    return HeedError(
        "heed", f"something went wrong inside (fault {number}).", "Try again; if it stays, tell who runs heed."
    )


def asked_for_json(request: Request) -> bool:
    """Whether a program asks, not a person."""
    return str(request.scope["path"]).startswith("/api/")
