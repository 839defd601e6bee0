"""What raters' API takes and answers, as its reference shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from heed.feedback.answers import LONGEST_NOTE
from heed.feedback.kinds import Text

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ShortText = Annotated[Text, Field(max_length=2000)]


class Given(BaseModel):
    """A body of a request: what it names beside its fields is refused."""

    model_config = ConfigDict(extra="forbid")


class AnswerGiven(Given):
    """An answer by field, in the order on the screen: place 0 is the left or first one."""

    answer: dict[str, Any]
    confidence: Share | None = None
    seconds: Seconds = 0.0
    active_seconds: Seconds = 0.0
    note: Annotated[Text, Field(max_length=LONGEST_NOTE)] = ""


class RenewalGiven(Given):
    """How long the rater has been at the item altogether (seconds)."""

    active_seconds: Seconds = 0.0


class DraftGiven(Given):
    """What is typed so far, and the revision that it began from (0 for the first)."""

    draft: Any
    revision: Annotated[int, Field(ge=0, le=1 << 30)] = 0


class SkipGiven(Given):
    """Why, in a few words."""

    reason: ShortText = ""


class FlagGiven(Given):
    """What is wrong with the item, for the lead."""

    note: ShortText = ""


class Nothing(Given):
    """No fields."""


class TurnShown(BaseModel):
    role: str
    html: str
    dir: str


class CompletionShown(BaseModel):
    html: str
    text: str | None
    dir: str


class DraftShown(BaseModel):
    draft: Any
    revision: int


class ProgressShown(BaseModel):
    answered: int = Field(description="items of this question that the rater has answered as work (count)")
    place: int | None = Field(
        description="which of the items of the training or the test this is, from 1; null for work"
    )
    of: int | None = Field(description="how many these are (count); null for work")


class FormShown(BaseModel):
    """What of a form is the rater's to know."""

    title: str
    instructions: str
    fields: list[dict[str, Any]]
    ask_confidence: bool
    reading: Literal["rendered", "plain"]
    lease_minutes: float


class ShowingShown(BaseModel):
    id: str
    expires: datetime
    form_version: int
    form: FormShown
    prompt: list[TurnShown]
    completions: list[CompletionShown]
    draft: DraftShown | None
    training: bool
    reopened: bool
    answer: dict[str, Any] | None
    confidence: float | None
    note: str
    progress: ProgressShown


class NothingShown(BaseModel):
    reason: Literal["paused", "closed", "waiting", "done"]
    answered: int


class ShowingList(BaseModel):
    showings: list[ShowingShown]
    nothing: NothingShown | None


class Reopened(BaseModel):
    showing: ShowingShown


class TrainingShown(BaseModel):
    correct: bool
    explanation_html: str
    expected: dict[str, Any] | None


class Accepted(BaseModel):
    accepted: Literal[True]
    feedback: TrainingShown | None


class Renewed(BaseModel):
    expires: datetime


class DraftKept(BaseModel):
    revision: int


class Done(BaseModel):
    done: Literal[True]


class QuestionShown(BaseModel):
    id: str
    name: str
    title: str
    state: Literal["open", "paused", "closed"]
    answered: int
    needs: Literal["guidelines", "qualification"] | None


class QuestionList(BaseModel):
    questions: list[QuestionShown]
