"""Lineage, against networkx on random histories and against plain bookkeeping on a loop of several rounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.config import ProjectSettings
from heed.errors import ProjectError
from heed.feedback.kinds import Comparison, Demonstration, completion_id
from heed.feedback.store import CompletionRecord
from heed.lineage import Trace, TraceNode
from heed.project import Cost, Project

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RATERS = ("careful-1", "lazy-1", "noisy-1")


def make_project(folder: Path) -> Project:
    return Project.create(folder, ProjectSettings(name="mine", model="m"))


class Loop:
    """A project after ``rounds`` of sample, judge, reward and policy on ``prompts`` prompts, two samples each."""

    def __init__(self, folder: Path, rounds: int, prompts: int) -> None:
        self.project = make_project(folder)
        self.store = self.project.store
        self.store.add_raters([(name, "simulated", "hurried") for name in RATERS[:2]])
        self.prompts = self.store.add_prompts([(f"Where is parcel {n}?", "train", "t") for n in range(prompts)])
        self.completions: dict[int, list[str]] = {}
        self.said: dict[int, list[Comparison]] = {}
        policies: list[str] = []
        for turn in range(1, rounds + 1):
            self._sample_and_judge(turn, policies)
            everything = [entry.id for entries in self.said.values() for entry in entries]
            reward = self._run("reward", [f"sample-{turn}"], turn, everything)
            policies = [self._run("policy", [reward, *policies], turn)]

    def _run(self, stage: str, parents: list[str], turn: int, feedback: list[str] = ()) -> str:  # type: ignore[assignment]
        run = self.project.begin_run(stage, {}, 0, parents, feedback, turn)
        run.finish({}, Cost())
        return run.id

    def _sample_and_judge(self, turn: int, policies: list[str]) -> None:
        run_id = self._run("sample", policies, turn)
        records = [
            CompletionRecord(completion_id(prompt, f"t{k}", f"{run_id}/{k}"), prompt, f"t{k} of {turn}", run_id, k)
            for prompt in self.prompts
            for k in (0, 1)
        ]
        self.store.add_completions(records)
        self.completions[turn] = [record.id for record in records]
        self.said[turn] = [
            Comparison(
                rater=RATERS[number % 3],
                prompt_id=prompt,
                completion_ids=(records[2 * number].id, records[2 * number + 1].id),
                choice="a",
                created=NOON + timedelta(days=turn, seconds=number),
            )
            for number, prompt in enumerate(self.prompts)
        ]
        self.store.add_feedback(self.said[turn])


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    made = Loop(tmp_path_factory.mktemp("loop") / "mine", rounds=3, prompts=10)
    yield made
    made.project.close()


def run_ids(nodes: tuple[TraceNode, ...]) -> list[str]:
    return [node.id for node in nodes if node.kind == "run"]


def node(nodes: tuple[TraceNode, ...], identity: str) -> TraceNode:
    (found,) = [entry for entry in nodes if entry.id == identity]
    return found


def test_a_completion_leads_back_to_the_policy_its_reward_and_the_people_behind_it(loop):
    trace = loop.project.trace(loop.completions[3][0])
    assert run_ids(trace.origins) == [
        "sample-3",
        "policy-2",
        "reward-2",
        "sample-2",
        "policy-1",
        "reward-1",
        "sample-1",
    ]
    assert node(trace.origins, "policy-2").parents == ("policy-1", "reward-2")
    # Reward 2 learned from two rounds of ten comparisons, dealt to three raters in turn: 4, 3 and 3 a round.
    assert [child.label for child in node(trace.origins, "reward-2").children] == [
        "simulated rater careful-1 of group hurried: 8 comparisons",
        "simulated rater lazy-1 of group hurried: 6 comparisons",
        "human rater noisy-1: 6 comparisons",
    ]
    assert node(trace.origins, loop.prompts[0]).label == "train, “Where is parcel 0?”"
    assert run_ids(trace.results) == ["reward-3", "policy-3"]


def test_a_completion_of_the_first_policy_led_to_everything_after_it(loop):
    trace = loop.project.trace(loop.completions[1][0])
    assert run_ids(trace.origins) == ["sample-1"]
    assert run_ids(trace.results) == [
        "reward-1",
        "policy-1",
        "sample-2",
        "reward-2",
        "policy-2",
        "sample-3",
        "reward-3",
        "policy-3",
    ]
    assert [entry.label for entry in trace.results if entry.kind == "rater"] == [
        "simulated rater careful-1 of group hurried: 1 comparison"
    ]


def test_a_rater_leads_forward_to_judgments_runs_and_completions(loop):
    trace = loop.project.trace("lazy-1")
    assert trace.subject.label.endswith(": 9 comparisons")
    assert trace.origins == ()
    assert run_ids(trace.results)[0] == "reward-1"
    assert run_ids(trace.results)[-1] == "policy-3"
    samples = node(trace.results, "sample-2").children
    assert [(child.kind, child.label) for child in samples] == [("completion", "one of 20 by sample-2")]
    assert samples[0].id in loop.completions[2]


def test_full_lists_every_judgment_and_completion(loop):
    trace = loop.project.trace("lazy-1", full=True)
    mine = [entry.id for entries in loop.said.values() for entry in entries if entry.rater == "lazy-1"]
    assert [child.id for child in trace.subject.children] == mine
    assert [child.id for child in node(trace.results, "sample-2").children] == loop.completions[2]
    learned = node(loop.project.trace("reward-1", full=True).origins, "sample-1")
    assert [child.id for child in learned.children] == loop.completions[1]
    behind = loop.project.trace("reward-1", full=True).subject.children
    assert {leaf.id for rater in behind for leaf in rater.children} == {entry.id for entry in loop.said[1]}


def test_a_run_without_parents_came_from_the_people_whose_imported_judgments_it_learned_from(tmp_path):
    with make_project(tmp_path / "mine") as project:
        prompt = project.store.add_prompts([("p", "train", "")])[0]
        said = [Demonstration(rater=name, prompt_id=prompt, text=name, created=NOON) for name in ("ann", "bob")]
        project.store.add_feedback(said)
        run = project.begin_run("reward", {}, 0, [], [entry.id for entry in said])
        run.finish({}, Cost())
        lines = project.trace("reward-1").lines()
        assert lines[1:] == [
            "came from:",
            "  human rater ann: 1 demonstration",
            "  human rater bob: 1 demonstration",
            "led to: nothing",
        ]


def test_a_run_led_to_what_it_sampled_before_what_was_made_from_that(loop):
    trace = loop.project.trace("sample-3")
    assert trace.results[0].label == "one of 20 by sample-3"
    assert run_ids(trace.results) == ["reward-3", "policy-3"]


def test_a_judgment_leads_to_its_rater_its_completions_and_what_learned_from_it(loop):
    said = loop.said[2][4]
    trace = loop.project.trace(said.id)
    assert [entry.id for entry in trace.origins if entry.kind == "rater"] == [said.rater]
    assert [entry.id for entry in trace.origins if entry.kind == "completion"] == list(said.completion_ids)
    assert run_ids(trace.origins) == ["sample-2", "policy-1", "reward-1", "sample-1"]
    assert run_ids(trace.results) == ["reward-2", "policy-2", "sample-3", "reward-3", "policy-3"]


def test_a_prompt_leads_to_its_completions_raters_and_runs(loop):
    trace = loop.project.trace(loop.prompts[1])
    assert [entry.label for entry in trace.results if entry.kind == "completion"] == [
        f"one of 2 by sample-{turn}" for turn in (1, 2, 3)
    ]
    assert [entry.id for entry in trace.results if entry.kind == "rater"] == ["lazy-1"]
    assert len(run_ids(trace.results)) == 8  # all but sample-1, which only had it to answer


def test_corrections_and_what_came_from_outside_are_shown(tmp_path):
    with make_project(tmp_path / "mine") as project:
        prompt = project.store.add_prompts([("p", "train", "")])[0]
        first = Demonstration(rater="ann", prompt_id=prompt, text="one", created=NOON)
        second = first.model_copy(update={"text": "two", "supersedes": first.id})
        project.store.add_feedback([first, second])
        project.store.add_completions([CompletionRecord("c1", prompt, "imported")])
        assert second.id in [entry.id for entry in project.trace(first.id).results]
        assert first.id in [entry.id for entry in project.trace(second.id).origins]
        assert project.trace("c1").subject.label == "from outside, “imported”"
        assert project.trace("c1").results == ()
        assert "led to: nothing" in project.trace("c1").lines()


def test_unknown_and_ambiguous_names_are_told(tmp_path):
    with make_project(tmp_path / "mine") as project:
        project.store.add_raters([("sample-1", "human", ""), ("team:ann", "human", "")])
        project.begin_run("sample", {}, 0).finish({}, Cost())
        with pytest.raises(ProjectError, match="heed runs"):
            project.trace("nobody")
        for impossible in ("\udcff", "rater:\udcff", "a\x00b", "x" * 100_000):
            with pytest.raises(ProjectError, match="heed runs") as caught:
                project.trace(impossible)
            assert len(str(caught.value)) < 500
        with pytest.raises(ProjectError, match="run:sample-1 or rater:sample-1"):
            project.trace("sample-1")
        assert project.trace("run:sample-1").subject.kind == "run"
        assert project.trace("rater:sample-1").subject.kind == "rater"
        assert project.trace("team:ann").subject.id == "team:ann"


def test_lines_and_json_hold_the_whole_trace(loop):
    trace = loop.project.trace(loop.completions[3][0])
    plain = json.loads(json.dumps(trace.as_dict()))
    assert [entry["id"] for entry in plain["origins"]] == [entry.id for entry in trace.origins]
    lines = trace.lines()
    assert lines[0].startswith(f"completion {loop.completions[3][0]}: by sample-3")
    assert "  run policy-2: done · round 2 · from policy-1, reward-2" in lines
    assert "    human rater noisy-1: 6 comparisons" in lines
    assert [line for line in lines if line.endswith(":")] == ["came from:", "led to:"]


def test_a_trace_stays_short_whatever_was_said(tmp_path):
    big = Loop(tmp_path / "mine", rounds=2, prompts=1200)
    with big.project:
        assert len(big.project.trace("careful-1").lines()) < 30
        assert len(big.project.trace(big.completions[2][0]).lines()) < 30
        assert len(big.project.trace("careful-1", full=True).lines()) > 2400


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_ancestors_and_descendants_are_those_of_the_graph(tmp_path_factory, data):
    graph = networkx.DiGraph()
    with make_project(tmp_path_factory.mktemp("graph") / "mine") as project:
        for number in range(data.draw(st.integers(1, 9))):
            known = list(graph)
            parents = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
            run = project.begin_run("step", {"n": number}, 0, parents)
            run.finish({}, Cost())
            graph.add_node(run.id)
            graph.add_edges_from((parent, run.id) for parent in parents)
        order = list(graph)
        for identity in order:
            trace: Trace = project.trace(identity)
            before, after = networkx.ancestors(graph, identity), networkx.descendants(graph, identity)
            assert run_ids(trace.origins) == [entry for entry in reversed(order) if entry in before]
            assert run_ids(trace.results) == [entry for entry in order if entry in after]
            assert set(trace.subject.parents) == set(graph.predecessors(identity))
    assert networkx.is_directed_acyclic_graph(graph)
