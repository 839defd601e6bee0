"""Where long texts are rendered: in threads of their own, so that the event loop goes on serving everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from markupsafe import Markup

from heed.web.markup import render

T = TypeVar("T")

QUICK = 400
"""Characters that are rendered in less time than it takes to hand them to a thread."""

MOST_RENDERED = 120_000
"""Characters of all texts of one item that are rendered; what comes after them is shown as it stands."""

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="heed-render")


async def rendered(text: str, heading: int, note: str = "") -> Markup:
    """:func:`heed.web.markup.render`, in one of these threads where it takes long."""
    if len(text) <= QUICK:
        return render(text, heading=heading, note=note)
    return await beside_the_loop(lambda: render(text, heading=heading, note=note))


async def beside_the_loop(make: Callable[[], T]) -> T:
    """What ``make`` returns, made in one of these threads."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, make)
