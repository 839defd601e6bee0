"""When Python looks for garbage: rarely while a program loads, and never among what stays until it ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL = gc.get_threshold()
_WHILE_LOADING = (100_000, 50, 1_000)
"""Loading torch and transformers makes a million objects that stay: looking through them again and again was a sixth of its time."""
_NEW_OBJECTS = 10_000
"""Objects made, and not yet gone, before a server looks at the youngest: a request makes a few thousand."""


def look_rarely() -> None:
    """For a program that begins: until ``look_as_usual``, garbage is looked for rarely."""
    gc.set_threshold(*_WHILE_LOADING)


def look_as_usual() -> None:
    """What a program needs is loaded: where it looked rarely, it looks as usual again, and never among what there is now; not when it
    ends either, which took a second with torch.

    Before anybody else's code is loaded, too: what that leaves is looked through to the end, or files that it opened would never be
    written out.
    """
    if gc.get_threshold() == _WHILE_LOADING:
        gc.freeze()
        gc.set_threshold(*_USUAL)


@contextmanager
def starting() -> Iterator[None]:
    """Inside, what a server needs is loaded: no garbage is looked for meanwhile, and never among what stands at the end.

    Python looks through all objects again and again while many are made, and a server has some hundreds of thousands that
    stay: that took a quarter of its time.
    """
    gc.disable()
    try:
        yield
    finally:
        keep_what_is_loaded()
        gc.set_threshold(_NEW_OBJECTS, *_USUAL[1:])
        gc.enable()


def keep_what_is_loaded() -> None:
    """Never look for garbage among what there is now."""
    gc.freeze()
