"""Runs: what was done, with which configuration, seed and code, from what, at what cost, and how it ended."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from heed.artifacts import Artifact, ArtifactFolder
from heed.errors import DataError, ProjectError
from heed.feedback import database, schema
from heed.feedback.store import Store
from heed.texts import cut, spelled

RunState = Literal["running", "interrupted", "done", "failed", "stopped"]

_ERROR_KEPT = 10_000
"""Characters of the error of a failed run: enough for any message, and no more of a value from outside than that."""

_STAGE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Cost:
    """What a run has used: labels (judgments given in it, not those that it learned from), tokens (processed by models) and wall-clock seconds."""

    labels: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.labels + other.labels, self.tokens + other.tokens, self.seconds + other.seconds)


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. ``started`` is its first start, ``cost`` the sum over all its resumptions."""

    id: str
    stage: str
    state: RunState
    folder: Path
    config: dict[str, Any]
    seed: int
    round: int
    version: str
    parents: tuple[str, ...]
    feedback: int
    metrics: dict[str, Any]
    cost: Cost
    error: str
    started: datetime
    ended: datetime | None


@dataclass(frozen=True)
class RunRequest:
    """What makes a run the run it is: asked for twice, it is the same run."""

    stage: str
    config: Mapping[str, Any]
    seed: int
    parents: Sequence[str] = ()
    feedback_ids: Sequence[str] = ()
    round: int = 0
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        if not _STAGE.fullmatch(self.stage):
            raise ValueError(f"{self.stage!r} is no name of a stage: lower-case letters, digits, '-' and '_'")
        object.__setattr__(self, "config", plain(self.config))
        object.__setattr__(self, "parents", tuple(dict.fromkeys(self.parents)))
        object.__setattr__(self, "feedback_ids", tuple(dict.fromkeys(self.feedback_ids)))
        identity = [self.stage, self.config, self.seed, sorted(self.parents), sorted(self.feedback_ids), self.round]
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        object.__setattr__(self, "fingerprint", hashlib.sha256(canonical.encode()).hexdigest())


def plain(value: Any) -> Any:
    """``value`` as JSON holds it: numpy and torch scalars as numbers, paths as text, ``nan`` and ``inf`` as such words.

    JSON has no word for a number that is not finite; PostgreSQL refuses it, and a run must not be lost over a metric.

    Raises:
        TypeError: something has no such form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if callable(getattr(value, "item", None)):
        return plain(value.item())
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be kept in a run record")


@cache
def code_version() -> str:
    """Version of the package and the commit of its source tree; without a commit, or with changes since, a hash of its files."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    source = digest.hexdigest()[:12]
    # Only where git tracks this very file: an installed package may lie inside somebody else's repository.
    if _git(package, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return f"{version('heed')}+source.{source}"
    commit = _git(package, "rev-parse", "--short=12", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", ".")
    return f"{version('heed')}+g{commit}" + (f".changed.{source}" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


class Run:
    """A run at work. As a context manager it is failed by an exception and stopped by Ctrl-C.

    Attributes:
        id: "reward-3": the stage and a count within it.
        folder: where its files go; the same after a resumption.
        resumed: whether this is the continuation of an unfinished run.
    """

    def __init__(
        self,
        record: RunRecord,
        resumed: bool,
        store: Store,
        artifacts: ArtifactFolder,
        on_end: Callable[[str], None],
    ) -> None:
        self.id, self.stage, self.folder, self.resumed = record.id, record.stage, record.folder, resumed
        self.metrics = record.metrics
        self._state: RunState = record.state
        self._store, self._artifacts, self._on_end = store, artifacts, on_end

    @property
    def state(self) -> RunState:
        return self._state

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state != "running":
            return
        if error is None:
            self.fail(RuntimeError("the stage ended without a result"))
            raise RuntimeError(f"run {self.id} ended without finish()")
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            self.stop()
        else:
            self.fail(error)

    def add_cost(self, cost: Cost) -> None:
        """Put down what was used since the last call; called at each checkpoint, a killed run keeps its account."""
        self._update(cost)

    def finish(
        self,
        metrics: Mapping[str, Any],
        cost: Cost,
        artifacts: Mapping[str, Path] | None = None,
        feedback: Sequence[str] = (),
    ) -> None:
        """Keep the artifacts, each ``name: file or folder``, and end as "done".

        Args:
            metrics: what the run found, under names that stay.
            cost: what was used since the last ``add_cost``.
            artifacts: relative paths start at the run's folder.
            feedback: ids of judgments that it learned from beside those that it was begun with.

        Raises:
            ProjectError: an artifact is not there or cannot be kept; the run is still running and may be finished again.
        """
        kept = {name: self._artifacts.add(self.folder / path) for name, path in (artifacts or {}).items()}
        self.metrics = plain(metrics)
        self._update(cost, kept, feedback, state="done", metrics=self.metrics, error="", ended=datetime.now(UTC))
        self._end("done")

    def fail(self, error: BaseException | str, cost: Cost | None = None) -> None:
        """End as "failed" with the error's text; the same command resumes it."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        kept = cut(spelled(text), _ERROR_KEPT)
        self._update(cost or Cost(), state="failed", error=kept, ended=datetime.now(UTC))
        self._end("failed")

    def stop(self, cost: Cost | None = None) -> None:
        """End as "stopped" on the user's wish; the same command resumes it."""
        self._update(cost or Cost(), state="stopped", ended=datetime.now(UTC))
        self._end("stopped")

    def _end(self, state: RunState) -> None:
        self._state = state
        self._on_end(self.id)

    def _update(
        self, cost: Cost, artifacts: Mapping[str, Artifact] | None = None, feedback: Sequence[str] = (), **values: Any
    ) -> None:
        if self._state != "running":
            raise RuntimeError(f"run {self.id} is {self._state}, not running")
        table = schema.runs
        used = {
            "labels": table.c.labels + cost.labels,
            "tokens": table.c.tokens + cost.tokens,
            "seconds": table.c.seconds + cost.seconds,
        }
        rows = [{"run_id": self.id, "name": name, **vars(kept)} for name, kept in (artifacts or {}).items()]
        judged = [{"run_id": self.id, "feedback_id": identity} for identity in dict.fromkeys(feedback)]

        def work(connection: Connection) -> None:
            connection.execute(update(table).where(table.c.id == self.id).values(**used, **values))
            if rows:
                connection.execute(insert(schema.artifacts), rows)
            if judged:
                connection.execute(insert(schema.run_feedback), judged)

        self._store.write(work)


def begin(connection: Connection, request: RunRequest, owner: str, fresh: bool) -> tuple[str, bool]:
    """The run that ``request`` asks for, marked as running and owned by ``owner``, and whether it was there before.

    The newest run of the same fingerprint is taken up again if it is unfinished, and returned as it is if it is done
    unless ``fresh``; else a new one is made, numbered within its stage in the same transaction.
    """
    table = schema.runs
    query = select(table).where(table.c.fingerprint == request.fingerprint).order_by(table.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    if row is not None and row.state != "done":
        code = code_version()
        versions = row.version if row.version.endswith(code) else f"{row.version}, resumed with {code}"
        values = {"state": "running", "owner": owner, "error": "", "ended": None, "version": versions}
        connection.execute(update(table).where(table.c.id == row.id).values(**values))
        return row.id, True
    if row is not None and not fresh:
        return row.id, True
    _check_sources(connection, request)
    ordinal = (connection.scalar(select(func.max(table.c.ordinal)).where(table.c.stage == request.stage)) or 0) + 1
    identity = f"{request.stage}-{ordinal}"
    connection.execute(
        insert(table).values(
            id=identity,
            stage=request.stage,
            ordinal=ordinal,
            fingerprint=request.fingerprint,
            config=request.config,
            seed=request.seed,
            round=request.round,
            version=code_version(),
            state="running",
            owner=owner,
            metrics={},
            labels=0,
            tokens=0,
            seconds=0.0,
            error="",
            started=datetime.now(UTC),
        )
    )
    _link(connection, identity, request)
    return identity, False


def _check_sources(connection: Connection, request: RunRequest) -> None:
    known = database.existing(connection, schema.runs.c.id, request.parents)
    for parent in request.parents:
        if parent not in known:
            raise ProjectError(
                f"a run of stage '{request.stage}'", f"its parent run '{parent}' does not exist.", "See: heed runs"
            )
    judged = database.existing(connection, schema.feedback.c.id, request.feedback_ids)
    for identity in request.feedback_ids:
        if identity not in judged:
            raise DataError(
                f"a run of stage '{request.stage}'",
                f"feedback {identity} is not in the store.",
                "Add it first: heed feedback import",
            )


def _link(connection: Connection, identity: str, request: RunRequest) -> None:
    parents = [{"run_id": identity, "parent_id": parent} for parent in request.parents]
    if parents:
        connection.execute(insert(schema.run_parents), parents)
    judged = [{"run_id": identity, "feedback_id": feedback} for feedback in request.feedback_ids]
    if judged:
        connection.execute(insert(schema.run_feedback), judged)


def read_runs(
    connection: Connection, folder: Path, owner: str | None, ids: Iterable[str] | None = None
) -> list[RunRecord]:
    """Records of all runs, or of ``ids``, in the order they were begun.

    Args:
        connection: an open transaction.
        folder: the folder in which each run has its own.
        owner: token of the process that holds the project now: only its runs are running, others were interrupted.
        ids: run ids; unknown ones are left out.
    """
    table, links, judged = schema.runs, schema.run_parents, schema.run_feedback
    query = select(table)
    rows: list[Any]
    if ids is None:
        rows = list(connection.execute(query))
    else:
        rows = list(database.rows_among(connection, query, table.c.id, ids))
    parents: dict[str, list[str]] = defaultdict(list)
    linked = select(links, table.c.number).join(table, table.c.id == links.c.parent_id).order_by(table.c.number)
    for link in connection.execute(linked):
        parents[link.run_id].append(link.parent_id)
    counted = select(judged.c.run_id, func.count()).group_by(judged.c.run_id)
    feedback = {row[0]: row[1] for row in connection.execute(counted)}
    return [
        RunRecord(
            id=row.id,
            stage=row.stage,
            state="interrupted" if row.state == "running" and row.owner != owner else row.state,
            folder=folder / row.id,
            config=row.config,
            seed=row.seed,
            round=row.round,
            version=row.version,
            parents=tuple(parents[row.id]),
            feedback=feedback.get(row.id, 0),
            metrics=row.metrics,
            cost=Cost(row.labels, row.tokens, row.seconds),
            error=row.error,
            started=row.started,
            ended=row.ended,
        )
        for row in sorted(rows, key=lambda row: row.number)
    ]
