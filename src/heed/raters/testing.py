"""Deciding for many raters or pairs at once, so that in a team of honest people somebody is suspected seldom enough."""

from __future__ import annotations

from heed.lazily import np
from heed.statistics import Array

LEVEL = 0.05
"""Chance, at most, that in a team without fault anybody at all is flagged by one kind of test."""


def holm(p: Array) -> Array:
    """p-values adjusted for how many there are (Holm 1979): below a level a, the chance of any false one is a at most.

    Those that are nan, of tests that could not be made, stay so and do not count.
    """
    adjusted = np.full(p.size, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * (known.size - np.arange(known.size))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def benjamini_hochberg(p: Array) -> Array:
    """p-values adjusted so that of those below a level q, a share of q at most is false (Benjamini and Hochberg 1995)."""
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * p.size / np.arange(p.size, 0, -1)
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted
