"""What the pages of the board share."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.responses import HTMLResponse

from heed.errors import DataError
from heed.feedback.kinds import explain_validation
from heed.texts import text_fault
from heed.web.board.watch import Numbers, watch_of
from heed.web.board.words import Words
from heed.web.call import Call

PAGE_SIZE = 50

Model = TypeVar("Model", bound=BaseModel)


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def storable(value: Any) -> Any:
    """A text that every database keeps, or anything that is no text.

    Raises:
        ValueError: it cannot be kept.
    """
    if isinstance(value, str) and (fault := text_fault(value)):
        raise ValueError(fault)
    return value


class Body(BaseModel):
    """Base of what the API takes: a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


Choice = Annotated[
    Annotated[str, Field(max_length=300)] | None, BeforeValidator(_none_if_empty), AfterValidator(storable), Query()
]
"""A name to filter by; an empty one, as a form sends it, is none."""

SearchText = Annotated[
    Annotated[str, Field(max_length=200)] | None, BeforeValidator(_none_if_empty), AfterValidator(storable), Query()
]
ItemId = Annotated[str, Path(max_length=17, pattern=r"^\w+$")]
Before = Annotated[Annotated[int, Field(ge=1, le=2**62)] | None, BeforeValidator(_none_if_empty), Query()]
"""The number that a page's rows lie below: the last of the page before."""

Purpose = Annotated[
    Literal["work", "gold", "training", "qualification"] | None, BeforeValidator(_none_if_empty), Query()
]
Limit = Annotated[int, Query(ge=1, le=200)]

Done = Annotated[
    Literal[
        "paused",
        "resumed",
        "excluded",
        "included",
        "group",
        "role",
        "revoked",
        "adjudicated",
        "gold",
        "retired",
        "saved",
        "made_paused",
        "made_open",
        "renamed",
        "state",
        "resolved",
        "withdrawn",
        "restored",
        "priority",
        "granted",
        "round",
        "round_undone",
        "taken_back",
    ]
    | None,
    BeforeValidator(_none_if_empty),
    Query(),
]
"""What has just been done, to be said on the page that follows."""


async def numbers(call: Call, fresh: bool = False) -> Numbers:
    """The counts that everybody who watches shares."""
    return await watch_of(call.desk).numbers(call.now, fresh)


async def frame_values(call: Call, here: str) -> dict[str, Any]:
    """What every page within the board's frame needs; ``here`` is its place in the navigation."""
    badges = {}
    # The first look at a large project takes seconds, which no page that shows none of the numbers should wait for.
    if watch_of(call.desk).has_looked:
        found = (await numbers(call)).overview
        badges = {"disagreements": found.disputed, "flags": found.open_flags}
    return {"here": here, "badges": badges, "say": Words(call), "now": call.now}


async def board_page(call: Call, template: str, here: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of the board from ``template``; ``here`` is its place in the navigation."""
    return call.page(f"board/{template}.html", status, **{**await frame_values(call, here), **values})


def checked(model: type[Model], values: dict[str, Any]) -> Model:
    """What a form sent as ``model``.

    Raises:
        DataError: a value is wrong, with the reason.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise DataError("the form", explain_validation(error) + ".", "Correct the value.") from None
