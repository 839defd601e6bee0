"""One thread for all tests: sums come out in one order, and tests that run side by side do not fight for cores."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

import postgres

torch.set_num_threads(1)
# A deadline would fail a test for what else the machine is doing. Where a change is checked before it is taken, the examples
# are the same each time: what chance finds elsewhere is for whoever looks for it, not for whoever happens to come by.
settings.register_profile("heed", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("heed")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server for all tests that ask for one."""
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.cluster() as running:
        yield running
