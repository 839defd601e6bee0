"""The studio's queue where a reward model says what is asked next: 50 raters, 100,000 items, each with its scores."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from sqlalchemy import select

from common import Report
from heed.feedback import item_scores
from heed.feedback.contested import STAGE
from heed.feedback.selectors import SHARPNESS
from heed.feedback.studio_schema import items
from heed.project import Project
from heed.runs import Cost
from served import begin_load, end_load, make_site, serving
from server import latency_rows

_ITEMS, _RATERS, _SECONDS = 100_000, 50, 30.0
_PER_TRANSACTION = 1000


def rows(report: Report) -> None:
    """Latencies of the next item and of an answer, raters asking once a second."""
    with tempfile.TemporaryDirectory(prefix="heed-bench-") as name:
        folder = Path(name) / "project"
        site = make_site(folder, _ITEMS, _RATERS, selector="disagreement")
        _score(folder)
        with serving(folder) as server:
            found = end_load(begin_load(site, server, every=1.0, seconds=_SECONDS))
            latency_rows("asking by disagreement, 50 raters, 100,000 items", found, (60.0, 100.0), report)


def _score(folder: Path) -> None:
    rng = np.random.default_rng(0)
    with Project(folder) as project, project.begin_run(STAGE, {}, 0, []) as run:
        with project.store.reading() as connection:
            ids = list(connection.scalars(select(items.c.id)))
        for first in range(0, len(ids), _PER_TRANSACTION):
            part = ids[first : first + _PER_TRANSACTION]
            scores = {one: {name: float(rng.random()) for name in SHARPNESS} for one in part}
            project.store.write(lambda c, scores=scores: item_scores.put_down(c, run.id, scores))  # type: ignore[misc]
        run.finish({}, Cost(seconds=0.0))
