"""Sums by code, which is most of what is counted here."""

from __future__ import annotations

from heed.lazily import np
from heed.raters.columns import Ints
from heed.statistics import Array


def summed(codes: Ints, values: Array | None = None, size: int = 0) -> Array:
    """Sums of ``values`` (None: how many there are) for each code from 0, of at least ``size`` codes."""
    return np.bincount(codes, values, size).astype(np.float64, copy=False)
