"""Raters whose judgments are not learned from. What they answered does not count towards the overlap of an item either."""

from __future__ import annotations

from sqlalchemy import Connection, Select, bindparam, func, select

from heed.feedback.studio_schema import exclusions


def names_excluded() -> Select[tuple[str]]:
    """Selects the names of the raters who are excluded: the newest decision on each counts."""
    newest = select(func.max(exclusions.c.number)).group_by(exclusions.c.rater)
    return select(exclusions.c.rater).where(exclusions.c.number.in_(newest), exclusions.c.excluded)


_NEWEST = (
    select(exclusions.c.excluded)
    .where(exclusions.c.rater == bindparam("rater"))
    .order_by(exclusions.c.number.desc())
    .limit(1)
)


def is_excluded(connection: Connection, rater: str) -> bool:
    """Whether a rater is excluded now."""
    return bool(connection.scalar(_NEWEST, {"rater": rater}))


def excluded_raters(connection: Connection) -> set[str]:
    """Names of the raters who are excluded now."""
    return set(connection.scalars(names_excluded()))
