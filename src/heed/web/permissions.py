"""Who may do what: tiny functions of whoever calls. A route names one; without one nothing is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from heed.people.accounts import Account

Scope = Literal["rate", "read", "manage", "any"]
"""What an API token must be for: answering, reading, changing, or whatever it is for. A session may do whatever its account's
role may."""


@dataclass(frozen=True)
class Caller:
    """Whoever sends a request.

    Attributes:
        account: the account that is signed in; None for nobody.
        scopes: of the API token that came with the request; None where a session did.
        session_id: of the session that came with the request; None where a token did.
    """

    account: Account | None = None
    scopes: frozenset[str] | None = None
    session_id: str | None = None

    @property
    def role(self) -> str:
        """Role of the account, "" for nobody."""
        return self.account.role if self.account else ""


Permission = Callable[[Caller], bool]


def anyone(caller: Caller) -> bool:
    """Everybody, signed in or not."""
    return True


def signed_in(caller: Caller) -> bool:
    """Whoever has an account, paused ones too: to read, not to answer."""
    return caller.account is not None


def rates(caller: Caller) -> bool:
    """Whoever may answer: every role, unless paused."""
    return caller.account is not None and caller.account.state == "active"


def leads(caller: Caller) -> bool:
    """Leads and admins."""
    return rates(caller) and caller.role in ("lead", "admin")


def administers(caller: Caller) -> bool:
    """Admins."""
    return rates(caller) and caller.role == "admin"


PERMISSIONS: tuple[Permission, ...] = (anyone, signed_in, rates, leads, administers)
"""All there are, from the widest to the narrowest."""
