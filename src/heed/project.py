"""A project: a folder with ``heed.yaml``, a database, the runs and what they left behind (see :mod:`heed.folder`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from heed import lineage, runs
from heed.artifacts import Artifact, ArtifactFolder
from heed.config import ProjectSettings, load_settings
from heed.errors import ProjectError
from heed.feedback import schema
from heed.files import file_errors
from heed.folder import (
    ARTIFACTS,
    RUNS,
    SETTINGS_FILE,
    forget_making,
    is_project,
    make_project_folder,
    open_store,
    project_lock,
)
from heed.runs import Cost, Run, RunRecord, RunRequest, RunState

__all__ = ["ArtifactFault", "Cost", "Project", "Run", "RunRecord", "RunState"]


@dataclass(frozen=True)
class ArtifactFault:
    """An artifact that is not what its run left: which, of which run, where, and what is wrong."""

    name: str
    run_id: str
    path: Path
    reason: str


class Project:
    """An open project. Close it, or use it as a context manager.

    Args:
        folder: the folder that holds ``heed.yaml``.

    Raises:
        ConfigError: ``heed.yaml`` is missing or wrong.
        ProjectError: the folder or the database cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        self.settings: ProjectSettings = load_settings(self.folder / SETTINGS_FILE)
        forget_making(self.folder)
        self._runs = self.folder / RUNS
        self._artifacts = ArtifactFolder(self.folder / ARTIFACTS, self._runs)
        self._lock = project_lock(self.folder)
        self._live: set[str] = set()
        self.store = open_store(self.folder, self.settings)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        settings: ProjectSettings,
        fill: Callable[[Path], None] = lambda folder: None,
        private: bool = False,
    ) -> Project:
        """Make a project in a new or an empty folder, or in one where a process was killed while it made one.

        ``heed.yaml`` comes last and makes the folder a project: killed before that, the same call makes it anew; after
        an error what was made is taken away again.

        Args:
            folder: where.
            settings: what heed.yaml is to say.
            fill: writes the project's other files into the folder that it is given, each whole or not at all (see
                :mod:`heed.files`).
            private: close a folder that is new to other users of the machine; one that is there keeps its mode.

        Raises:
            ProjectError: the folder is a project, holds something else, cannot be written, or another process is making
                a project there.
        """
        return cls(make_project_folder(folder, settings, fill, private))

    @classmethod
    def open(cls, folder: str | Path = ".") -> Project:
        """Open the project in ``folder`` or the nearest folder above it.

        Raises:
            ProjectError: there is none.
        """
        start = Path(folder).resolve()
        for place in (start, *start.parents):
            if is_project(place):
                return cls(place)
        raise ProjectError(
            f"folder {start}",
            f"neither it nor a folder above it holds a {SETTINGS_FILE}.",
            "Go into a project, or make one: heed init NAME --model MODEL --prompts FILE; or heed init NAME --studio",
        )

    def close(self) -> None:
        """Close the database and free the lock; runs still running are shown as interrupted from now on."""
        self._live.clear()
        while self._lock.held:
            self._lock.release()
        self.store.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # One writer at a time

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing to the project inside the block; may be nested.

        The lock is the operating system's: it ends with the process, however that ends.

        Raises:
            ProjectError: another process is writing; its process id is named.
        """
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    # Runs

    def begin_run(
        self,
        stage: str,
        config: Mapping[str, Any],
        seed: int,
        parents: Sequence[str] = (),
        feedback_ids: Sequence[str] = (),
        round: int = 0,
        fresh: bool = False,
    ) -> Run:
        """Begin a run, or go on with it; the project stays locked until the run ends.

        Asked for with the same stage, configuration, seed, parents, feedback and round, an unfinished run is resumed: same
        id, same folder. A finished one is returned with state "done".

        Args:
            stage: "sample", "reward", "policy", ...; the first part of the id.
            config: the full configuration of the stage, as plain values.
            seed: the seed of everything random in it.
            parents: ids of the runs whose results it uses.
            feedback_ids: the judgments that it learns from.
            round: turn of the loop (count from 1); 0 outside a loop.
            fresh: do it anew even if it was finished before.

        Raises:
            ProjectError: a parent does not exist, another process is writing, or the disk is full or read-only.
            DataError: a judgment is not in the store.
        """
        request = RunRequest(stage, config, seed, parents, feedback_ids, round)
        owner = self._lock.acquire()
        try:
            identity, existed = self.store.write(lambda connection: runs.begin(connection, request, owner.token, fresh))
            record = self.run(identity)
            if record.state == "running":
                with file_errors(f"run {identity}"):
                    record.folder.mkdir(parents=True, exist_ok=True)
        except BaseException:
            self._lock.release()
            raise
        # A run begun again in this process, after an error that nobody reported, holds its share of the lock already.
        if record.state != "running" or identity in self._live:
            self._lock.release()
        else:
            self._live.add(identity)
        return Run(record, existed and record.state == "running", self.store, self._artifacts, self._ended)

    def _ended(self, run_id: str) -> None:
        if run_id in self._live:
            self._live.remove(run_id)
            self._lock.release()

    def runs(self) -> list[RunRecord]:
        """All runs, in the order they were begun. One whose process died is "interrupted"."""
        return self._read_runs(None)

    def run(self, run_id: str) -> RunRecord:
        """The run ``run_id``.

        Raises:
            ProjectError: there is none.
        """
        for record in self._read_runs([run_id]):
            return record
        raise ProjectError(f"run '{run_id}'", "there is no such run in this project.", "See: heed runs")

    def latest(self, stage: str, state: RunState = "done") -> RunRecord | None:
        """The run of ``stage`` in ``state`` that was begun last, if there is one."""
        matching = [record for record in self.runs() if record.stage == stage and record.state == state]
        return matching[-1] if matching else None

    def feedback_of(self, run_id: str) -> list[str]:
        """Ids of the judgments that a run learned from, in the order they were given to it."""
        table = schema.run_feedback
        with self.store.reading() as connection:
            return list(connection.scalars(select(table.c.feedback_id).where(table.c.run_id == run_id)))

    def _read_runs(self, ids: Sequence[str] | None) -> list[RunRecord]:
        owner = self._owner_token()
        with self.store.reading() as connection:
            return runs.read_runs(connection, self._runs, owner, ids)

    def _owner_token(self) -> str | None:
        owner = self._lock.owner()
        return owner.token if owner else None

    # Artifacts

    def artifacts(self, run_id: str) -> dict[str, Artifact]:
        """What the run kept, by name."""
        table = schema.artifacts
        query = select(table).where(table.c.run_id == run_id).order_by(table.c.name)
        with self.store.reading() as connection:
            return {row.name: Artifact(row.hash, row.file, row.bytes) for row in connection.execute(query)}

    def artifact(self, name: str, run_id: str) -> Path:
        """Where the artifact ``name`` of the run lies: a file or a folder, not to be changed.

        Raises:
            ProjectError: the run has none of this name, or it is gone.
        """
        kept = self.artifacts(self.run(run_id).id)
        if name not in kept:
            names = f"it has {', '.join(kept)}." if kept else "it has none."
            raise ProjectError(f"artifact '{name}' of run {run_id}", names, "Name one of these, or finish the run.")
        path = self._artifacts.path(kept[name])
        if not path.exists():
            raise ProjectError(
                f"artifact '{name}' of run {run_id}", f"{path} is missing.", "Put it back from a copy, or run it again."
            )
        return path

    def verify_artifacts(self, progress: Callable[[int, int], None] = lambda read, total: None) -> list[ArtifactFault]:
        """Read every artifact and compare it with its hash; what is missing or has changed is returned.

        Args:
            progress: called again and again with what has been read so far and what there is in all (bytes).
        """
        table = schema.artifacts
        query = select(table).order_by(table.c.run_id, table.c.name)
        with self.store.reading() as connection:
            rows = connection.execute(query).all()
        total = sum({row.hash: row.bytes for row in rows}.values())
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size
            progress(read, total)

        reasons: dict[str, str | None] = {}
        faults = []
        for row in rows:
            artifact = Artifact(row.hash, row.file, row.bytes)
            if row.hash not in reasons:
                reasons[row.hash] = self._artifacts.fault(artifact, count)
            reason = reasons[row.hash]
            if reason is not None:
                faults.append(ArtifactFault(row.name, row.run_id, self._artifacts.path(artifact), reason))
        return faults

    # Lineage

    def trace(self, identity: str, full: bool = False) -> lineage.Trace:
        """Where something came from and what became of it.

        Args:
            identity: id of a completion, prompt, judgment or run, or a rater's name.
            full: list every judgment and completion instead of counting them.

        Raises:
            ProjectError: nothing has this id, or more than one thing has this name.
        """
        owner = self._owner_token()
        with self.store.reading() as connection:  # one state for all: a run begun meanwhile is in all of it or in none
            return lineage.trace(connection, identity, runs.read_runs(connection, self._runs, owner), full)
