"""What this surface takes and answers, as the API's reference shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from heed.feedback.kinds import Text
from heed.people.accounts import Account, Role
from heed.people.invitations import DAYS, LONGEST_DAYS, Invitation
from heed.people.qualification import Standing
from heed.people.sessions import SessionRecord
from heed.people.shortcuts import keys_of
from heed.people.tokens import LONGEST_DAYS as LONGEST_TOKEN_DAYS
from heed.people.tokens import TokenRecord
from heed.web.values import Whole

Name = Annotated[Text, Field(max_length=255)]
Password = Annotated[Text, Field(max_length=4096)]
Reason = Annotated[Text, Field(max_length=2000)]
Identity = Annotated[Text, Field(max_length=17)]
Scope = Literal["rate", "read", "manage"]


class Given(BaseModel):
    """A body of a request or a form: what it names beside its fields is refused."""

    model_config = ConfigDict(extra="forbid")


# Oneself


class Keys(Given):
    """Single-key shortcuts: whether they are on, and by action the keys that differ from the usual ones; "" is none."""

    enabled: bool = True
    keys: dict[Annotated[Text, Field(max_length=40)], Annotated[Text, Field(max_length=20)]] = {}


class Me(BaseModel):
    """The account that is signed in; ``keys`` are its settings, ``keys_in_use`` what follows from them."""

    id: str
    name: str
    role: Role
    state: str
    state_reason: str
    group: str
    language: str
    theme: str
    keys: dict[str, Any]
    keys_in_use: dict[str, str]
    revision: int

    @classmethod
    def of(cls, account: Account) -> Me:
        """An account as its owner sees it."""
        return cls(**_shared(cls, account), keys_in_use=keys_of(account.keys))


class MeChanged(Given):
    """What to change of oneself; ``revision`` is the one that was changed, another since is a conflict."""

    language: Literal["en", "zh"] | None = None
    theme: Literal["auto", "light", "dark"] | None = None
    keys: Keys | None = None
    revision: Whole | None = None


class PasswordChanged(Given):
    """A new password, and the one that it replaces."""

    current: Password
    password: Password


class SessionShown(BaseModel):
    """One browser that is signed in."""

    id: str
    agent: str
    created: datetime
    seen: datetime
    expires: datetime
    current: bool

    @classmethod
    def of(cls, session: SessionRecord, current: str | None) -> SessionShown:
        """A session as its owner sees it."""
        return cls(**vars(session), current=session.id == current)


class SessionList(BaseModel):
    """The browsers in which this account is signed in, newest use first."""

    sessions: list[SessionShown]


class Ended(BaseModel):
    """How many were ended."""

    ended: int


class TokenAsked(Given):
    """A new API token: what it is for, what it may do, and for how many days."""

    name: Annotated[Text, Field(min_length=1, max_length=200)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    days: Annotated[float, Field(gt=0, le=LONGEST_TOKEN_DAYS)] = 30


class TokenShown(BaseModel):
    """One API token, known by its beginning."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created: datetime
    expires: datetime
    used: datetime | None

    @classmethod
    def of(cls, token: TokenRecord) -> TokenShown:
        """A token as its owner sees it."""
        return cls(**_shared(cls, token) | {"scopes": list(token.scopes)})


class TokenMade(TokenShown):
    """A new token. ``token`` is told this once; null where a retry asks again with the same idempotency key."""

    token: str | None = None


class TokenList(BaseModel):
    """The API tokens that hold, newest first, and the scopes that there are for this role."""

    tokens: list[TokenShown]
    scopes: list[str]


# Others


class PersonShown(BaseModel):
    """One account, as leads see it."""

    id: str
    name: str
    role: Role
    state: str
    state_reason: str
    group: str
    created: datetime
    has_password: bool

    @classmethod
    def of(cls, account: Account) -> PersonShown:
        """An account as leads see it."""
        return cls(**_shared(cls, account))


class PersonList(BaseModel):
    """All accounts in the order in which they were made."""

    people: list[PersonShown]


class PersonChanged(Given):
    """What to change of an account: its role (admins only) or its group."""

    role: Role | None = None
    group: Name | None = None


class Why(Given):
    """The reason for what is done."""

    reason: Reason = ""


class InvitationAsked(Given):
    """An invitation: to which role and group, and if need be for whom."""

    role: Role = "rater"
    group: Name = ""
    name: Name | None = None
    email: Name | None = None
    note: Reason = ""
    days: Annotated[float, Field(gt=0, le=LONGEST_DAYS)] = DAYS


class InvitationShown(BaseModel):
    """An invitation, without its link."""

    id: str
    role: Role
    group: str
    name: str | None
    email: str | None
    note: str
    created_by: str
    created: datetime
    expires: datetime
    resets: bool

    @classmethod
    def of(cls, invitation: Invitation) -> InvitationShown:
        """An invitation as leads see it."""
        return cls(**_shared(cls, invitation), resets=invitation.account_id is not None)


class InvitationList(BaseModel):
    """Invitations that can still be taken, newest first."""

    invitations: list[InvitationShown]


class LinkMade(BaseModel):
    """A link that lets one person in once. It is told this once; null where a retry asks with the same idempotency key."""

    link: str | None = None


class Done(BaseModel):
    """It is done."""

    done: Literal[True] = True


# Before the work


class GuidelinesShown(BaseModel):
    """The newest guidelines (markdown) and whether this account has acknowledged them; version 0 is none yet."""

    version: int
    text: str
    note: str
    created: datetime | None
    acknowledged: bool


class Acknowledged(Given):
    """The version of the guidelines that was read."""

    version: Whole


class Granted(Given):
    """The rater who may work without the test."""

    rater: Name


class StandingShown(BaseModel):
    """How a rater stands with the test of a question; see :class:`heed.people.qualification.Standing`."""

    state: str
    attempt: int
    attempts: int
    asked: int
    answered: int
    score: float | None
    pass_mark: float
    may_work: bool
    may_begin: bool

    @classmethod
    def of(cls, standing: Standing) -> StandingShown:
        """A standing as its rater sees it."""
        return cls(**vars(standing), may_work=standing.may_work, may_begin=standing.may_begin)


def _shared(model: type[BaseModel], record: object) -> dict[str, Any]:
    """The fields of ``model`` that ``record`` has."""
    return {name: getattr(record, name) for name in model.model_fields if hasattr(record, name)}
