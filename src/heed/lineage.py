"""Lineage: where something came from, and what became of it.

Feedback trains runs, runs have parent runs, runs sample completions, completions get feedback. A run's parents exist before
it does, so there are no cycles. A trace lists every run on the way once, each naming the runs it was made from: it stays
short however many rounds the loop has turned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, func, select

from heed.errors import ProjectError
from heed.feedback.schema import completions, feedback, feedback_completions, prompts, raters, run_feedback
from heed.runs import RunRecord
from heed.texts import cut, text_fault

NodeKind = Literal["prompt", "completion", "feedback", "rater", "run"]

_EXCERPT = 70


@dataclass(frozen=True)
class TraceNode:
    """One thing in a trace.

    Attributes:
        id: its id; of a rater, the name.
        kind: what it is.
        label: what to show of it, on one line.
        parents: for a run, the runs that it was made from.
        children: for a run, the raters that it learned from and the completions that it sampled; for a rater, the
            judgments, where all are listed.
    """

    id: str
    kind: NodeKind
    label: str
    parents: tuple[str, ...] = ()
    children: tuple[TraceNode, ...] = ()


@dataclass(frozen=True)
class Trace:
    """What ``subject`` came from, newest first, and what came from it, oldest first."""

    subject: TraceNode
    origins: tuple[TraceNode, ...] = field(default=())
    results: tuple[TraceNode, ...] = field(default=())

    def lines(self) -> list[str]:
        """The trace as text, indented by two spaces a level."""
        text = [_line(self.subject, 0)]
        for title, nodes in (("came from", self.origins), ("led to", self.results)):
            text.append(f"{title}: nothing" if not nodes else f"{title}:")
            for node in nodes:
                text += _subtree(node, 1)
        return text

    def as_dict(self) -> dict[str, Any]:
        """The trace as plain values, ready for JSON."""
        return asdict(self)


def _line(node: TraceNode, depth: int) -> str:
    return "  " * depth + (node.label if node.kind == "rater" else f"{node.kind} {node.id}: {node.label}")


def _subtree(node: TraceNode, depth: int) -> list[str]:
    lines = [_line(node, depth)]
    for child in node.children:
        lines += _subtree(child, depth + 1)
    return lines


def trace(connection: Connection, identity: str, runs: Sequence[RunRecord], full: bool) -> Trace:
    """Trace a completion, prompt, judgment or run by its id, or a rater by name; ``rater:NAME`` and the like choose.

    Raises:
        ProjectError: nothing has this id, or several things have this name.
    """
    tracer = _Tracer(connection, runs, full)
    chosen, _, rest = identity.partition(":")
    found = [(kind, identity) for kind in tracer.kinds if tracer.exists(kind, identity)]
    if not found and chosen in tracer.kinds and tracer.exists(chosen, rest):
        found = [(chosen, rest)]
    if not found:
        raise ProjectError(
            f"'{cut(identity)}'",
            "no run, rater, prompt, completion or judgment of this project is called so.",
            "See 'heed runs' for runs, and the exported feedback for the other ids.",
        )
    if len(found) > 1:
        ways = " or ".join(f"{kind}:{identity}" for kind, _ in found)
        raise ProjectError(f"'{identity}'", "more than one thing is called so.", f"Ask for {ways}.")
    kind, name = found[0]
    return tracer.kinds[kind](name)


class _Tracer:
    def __init__(self, connection: Connection, runs: Sequence[RunRecord], full: bool) -> None:
        self._connection, self._full = connection, full
        self._runs = {run.id: run for run in runs}
        self._order = {run.id: place for place, run in enumerate(runs)}
        self._successors: dict[str, list[str]] = defaultdict(list)
        for run in runs:
            for parent in run.parents:
                self._successors[parent].append(run.id)
        self.kinds = {
            "run": self._of_run,
            "rater": self._of_rater,
            "completion": self._of_completion,
            "feedback": self._of_feedback,
            "prompt": self._of_prompt,
        }

    def exists(self, kind: str, identity: str) -> bool:
        if kind == "run":
            return identity in self._runs
        if text_fault(identity):
            return False  # what cannot be kept is not there, and a database cannot even be asked for it
        key = {
            "rater": raters.c.name,
            "completion": completions.c.id,
            "feedback": feedback.c.id,
            "prompt": prompts.c.id,
        }
        return self._connection.execute(select(key[kind]).where(key[kind] == identity)).first() is not None

    # One method a kind of subject

    def _of_run(self, identity: str) -> Trace:
        run = self._runs[identity]
        # What it learned from and sampled itself is the nearest of what it came from and led to.
        origins = (*self._teachers(run), *self._ancestors(run.parents))
        results = (*self._samples_of(run), *self._descendants(self._successors[identity]))
        return Trace(self._run_node(run), origins, results)

    def _of_completion(self, identity: str) -> Trace:
        row = self._connection.execute(select(completions).where(completions.c.id == identity)).one()
        sampled = [row.run_id] if row.run_id is not None else []
        subject = self._completion_node(row)
        origins = (*self._ancestors(sampled), self._prompt_node(row.prompt_id))
        about = self._about(feedback_completions.c.completion_id == identity)
        return Trace(subject, origins, (*self._by_rater(about), *self._learned_from(about)))

    def _of_feedback(self, identity: str) -> Trace:
        row = self._connection.execute(select(feedback).where(feedback.c.id == identity)).one()
        judged = self._connection.execute(
            select(completions)
            .join(feedback_completions, feedback_completions.c.completion_id == completions.c.id)
            .where(feedback_completions.c.feedback_id == identity)
            .order_by(feedback_completions.c.place)
        ).all()
        earlier = [self._feedback_node(row.supersedes)] if row.supersedes is not None else []
        origins = (
            self._rater_node(row.rater, ""),
            *earlier,
            *(self._completion_node(entry) for entry in judged),
            *self._ancestors(dict.fromkeys(entry.run_id for entry in judged if entry.run_id is not None)),
            self._prompt_node(row.prompt_id),
        )
        corrections = self._connection.scalars(select(feedback.c.id).where(feedback.c.supersedes == identity))
        results = (*map(self._feedback_node, corrections), *self._learned_from(feedback.c.id == identity))
        return Trace(self._feedback_node(identity), origins, results)

    def _of_prompt(self, identity: str) -> Trace:
        about = feedback.c.prompt_id == identity
        results = (
            *self._samples(completions.c.prompt_id == identity),
            *self._by_rater(about),
            *self._learned_from(about),
        )
        return Trace(self._prompt_node(identity), (), results)

    def _of_rater(self, name: str) -> Trace:
        about = feedback.c.rater == name
        said = self._by_rater(about)
        subject = said[0] if said else self._rater_node(name, "no feedback")
        return Trace(subject, (), self._learned_from(about))

    # Runs

    def _ancestors(self, starts: Iterable[str]) -> tuple[TraceNode, ...]:
        reached = self._reach(starts, lambda identity: self._runs[identity].parents)
        return tuple(self._run_node(run) for run in reversed(reached))

    def _descendants(self, starts: Iterable[str]) -> tuple[TraceNode, ...]:
        return tuple(self._run_node(run) for run in self._reach(starts, lambda identity: self._successors[identity]))

    def _reach(self, starts: Iterable[str], following: Callable[[str], Iterable[str]]) -> list[RunRecord]:
        """All runs that can be reached from ``starts``, these included, in the order they were begun."""
        reached: set[str] = set()
        waiting = list(starts)
        while waiting:
            identity = waiting.pop()
            if identity not in reached:
                reached.add(identity)
                waiting += following(identity)
        return [self._runs[identity] for identity in sorted(reached, key=self._order.__getitem__)]

    def _learned_from(self, about: ColumnElement[bool]) -> tuple[TraceNode, ...]:
        """The runs that learned from the judgments ``about`` something, and all that was made from those runs."""
        query = (
            select(run_feedback.c.run_id)
            .join(feedback, feedback.c.id == run_feedback.c.feedback_id)
            .where(about)
            .distinct()
        )
        return self._descendants(self._connection.scalars(query).all())

    def _run_node(self, run: RunRecord) -> TraceNode:
        parts: list[str] = [run.state]
        if run.round:
            parts.append(f"round {run.round}")
        if run.parents:
            parts.append("from " + ", ".join(run.parents))
        return TraceNode(run.id, "run", " · ".join(parts), run.parents, (*self._teachers(run), *self._samples_of(run)))

    def _teachers(self, run: RunRecord) -> tuple[TraceNode, ...]:
        """The raters whose judgments a run learned from."""
        learned = select(run_feedback.c.feedback_id).where(run_feedback.c.run_id == run.id)
        return self._by_rater(feedback.c.id.in_(learned)) if run.feedback else ()

    def _samples_of(self, run: RunRecord) -> tuple[TraceNode, ...]:
        """The completions that a run sampled."""
        return self._samples(completions.c.run_id == run.id)

    # What people said, and of what

    def _about(self, judged: ColumnElement[bool]) -> ColumnElement[bool]:
        return feedback.c.id.in_(select(feedback_completions.c.feedback_id).where(judged))

    def _by_rater(self, about: ColumnElement[bool]) -> tuple[TraceNode, ...]:
        """Each rater of the judgments ``about`` something, with how many of each kind."""
        query = (
            select(feedback.c.rater, feedback.c.kind, func.count())
            .where(about)
            .group_by(feedback.c.rater, feedback.c.kind)
            .order_by(feedback.c.rater, feedback.c.kind)
        )
        counts: dict[str, list[str]] = defaultdict(list)
        for rater, kind, count in self._connection.execute(query):
            counts[rater].append(f"{count:,} {kind}{'s' if count > 1 else ''}")
        said: dict[str, list[TraceNode]] = defaultdict(list)
        if self._full:
            for row in self._connection.execute(select(feedback).where(about).order_by(feedback.c.number)):
                said[row.rater].append(_feedback_node(row))
        return tuple(self._rater_node(rater, ", ".join(kinds), said[rater]) for rater, kinds in counts.items())

    def _rater_node(self, name: str, said: str, judgments: Sequence[TraceNode] = ()) -> TraceNode:
        row = self._connection.execute(select(raters).where(raters.c.name == name)).one()
        who = f"{row.kind} rater {name}" + (f" of group {row.group_name}" if row.group_name else "")
        return TraceNode(name, "rater", f"{who}: {said}" if said else who, (), tuple(judgments))

    def _feedback_node(self, identity: str) -> TraceNode:
        return _feedback_node(self._connection.execute(select(feedback).where(feedback.c.id == identity)).one())

    def _prompt_node(self, identity: str) -> TraceNode:
        row = self._connection.execute(select(prompts).where(prompts.c.id == identity)).one()
        text = row.content if isinstance(row.content, str) else row.content[-1]["content"]
        return TraceNode(identity, "prompt", f"{row.split}, {_excerpt(text)}")

    def _completion_node(self, row: Row[Any]) -> TraceNode:
        source = f"by {row.run_id}" if row.run_id is not None else "from outside"
        return TraceNode(row.id, "completion", f"{source}, {_excerpt(row.text)}")

    def _samples(self, which: ColumnElement[bool]) -> tuple[TraceNode, ...]:
        """The completions ``which``: one node for each run that sampled them, or all where all are listed."""
        if self._full:
            query = select(completions).where(which).order_by(completions.c.number)
            return tuple(map(self._completion_node, self._connection.execute(query)))
        counted = (
            select(completions.c.run_id, func.count(), func.min(completions.c.id))
            .where(which)
            .group_by(completions.c.run_id)
            .order_by(func.min(completions.c.number))
        )
        nodes = []
        for run_id, count, first in self._connection.execute(counted):
            source = f"by {run_id}" if run_id is not None else "from outside"
            nodes.append(TraceNode(first, "completion", source if count == 1 else f"one of {count:,} {source}"))
        return tuple(nodes)


def _feedback_node(row: Row[Any]) -> TraceNode:
    answers = {key: row.record[key] for key in ("choice", "scores", "groups", "up", "defects") if key in row.record}
    said = ", ".join(f"{key} {value}" for key, value in answers.items())
    when = row.created.strftime("%Y-%m-%d %H:%M UTC")
    return TraceNode(row.id, "feedback", f"{row.kind} of {row.rater}, {when}" + (f", {said}" if said else ""))


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + '…'}”"
