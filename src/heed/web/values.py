"""Values in requests that every database can keep."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

LARGEST = 2**31 - 1
"""Of the whole numbers in the database."""

Whole = Annotated[int, Field(ge=0, le=LARGEST)]
"""A count, a revision or a version."""
