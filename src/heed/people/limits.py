"""How often something may be tried: token buckets in the database, so that all processes count together.

A bucket holds at most ``capacity`` tokens, each try takes one, and it fills again with time. What is refused has to leave
its mark all the same: take tokens in a transaction of their own, and look at passwords and secrets after it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from heed.errors import LimitError
from heed.feedback.studio_schema import rate_limits

_LONGEST_BUCKET = 128
_SKEW = 60.0
"""Seconds by which the clocks of several servers may differ."""


@dataclass(frozen=True)
class Limit:
    """At most ``capacity`` at once, and ``per_second`` in the long run."""

    capacity: float
    per_second: float


# A handful of typing mistakes are free; a guesser gets about 3,000 tries a day at one name, whatever addresses are used.
SIGN_IN_NAME = Limit(10, 1 / 30)
# A whole office may share one address; those who sign in get their token back.
SIGN_IN_ADDRESS = Limit(40, 1 / 5)
INVITATION_ADDRESS = Limit(30, 1 / 5)
PASSWORD_CHANGE = Limit(5, 1 / 60)


Act = Callable[[Connection, str, float, float, datetime], None]
"""What :func:`take` and :func:`give_back` are."""


def bucket_name(purpose: str, who: str) -> str:
    """The bucket of ``who`` (a name, an address): what others typed is hashed, so that it is neither kept nor too long."""
    return f"{purpose}:{hashlib.sha256(who.encode('utf-8', errors='surrogatepass')).hexdigest()[:32]}"


def take(connection: Connection, bucket: str, capacity: float, refill_per_second: float, now: datetime) -> None:
    """Take one token.

    Raises:
        LimitError: none is left; it says in how many seconds there will be one.
    """
    tokens = _tokens(connection, bucket, capacity, refill_per_second, now)
    if tokens < 1:
        seconds = max(1, math.ceil((1 - tokens) / refill_per_second))
        raise LimitError("this was tried too often", "there is a limit.", f"Try again in {seconds} s.")
    _keep(connection, bucket, tokens - 1, now)


def give_back(connection: Connection, bucket: str, capacity: float, refill_per_second: float, now: datetime) -> None:
    """Return the token of a try that was in order."""
    tokens = _tokens(connection, bucket, capacity, refill_per_second, now)
    _keep(connection, bucket, min(capacity, tokens + 1), now)


def forget(connection: Connection, now: datetime, hours: float = 24) -> int:
    """Delete buckets that nobody has used for ``hours``: all of those above are full again by then. How many they were."""
    return connection.execute(delete(rate_limits).where(rate_limits.c.updated < now - timedelta(hours=hours))).rowcount


def _tokens(connection: Connection, bucket: str, capacity: float, refill_per_second: float, now: datetime) -> float:
    if len(bucket) > _LONGEST_BUCKET:
        raise ValueError(f"a bucket's name has at most {_LONGEST_BUCKET} characters")
    table = rate_limits
    row = connection.execute(select(table).where(table.c.bucket == bucket).with_for_update()).one_or_none()
    if row is None:
        # Two processes may come here at once on PostgreSQL: one fails at the key and its work is done again.
        connection.execute(insert(table).values(bucket=bucket, tokens=capacity, updated=now))
        return capacity
    passed = (now - row.updated).total_seconds()
    if passed < -_SKEW:
        # The clock was set back. Until the time that was written the bucket would not fill, and a refused try leaves nothing
        # behind by which it could be counted anew: one try is free, and is written down with the time that it is now.
        return max(1.0, row.tokens)
    return min(capacity, row.tokens + max(0.0, passed) * refill_per_second)


def _keep(connection: Connection, bucket: str, tokens: float, now: datetime) -> None:
    table = rate_limits
    connection.execute(update(table).where(table.c.bucket == bucket).values(tokens=tokens, updated=now))
