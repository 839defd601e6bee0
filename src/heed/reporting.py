"""Gathering a project's runs into the data of its report."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from heed.evaluate.compare import FrontierPoint
from heed.evaluate.learning import NOT_MEASURED, KnownReward, LabelsWorth
from heed.evaluate.metrics import Accuracy, Calibration
from heed.evaluate.report import Alarm, RaterSource, ReportData, RunSource, TrainingPoint
from heed.evaluate.report_raters import MOST_SHOWN, RatersPart, raters_part
from heed.feedback.kinds import PromptContent
from heed.labelling import STAGE as LABELS
from heed.project import Project
from heed.questions import unique
from heed.raters.from_feedback import answers_of_feedback
from heed.raters.trust import trust_of
from heed.runs import RunRecord, code_version
from heed.stages.evaluation import Evaluation
from heed.stages.results import peak_memory_mib
from heed.statistics import Undefined
from heed.texts import cut


def report_data(project: Project, evaluation: RunRecord) -> ReportData:
    """Everything that the report of an evaluation says, from the records of the runs behind it."""
    found = Evaluation.model_validate(evaluation.metrics)
    lineage = _ancestors(project, evaluation)
    policy = next(run for run in lineage if run.id in evaluation.parents and run.stage == "policy")
    reward = next((run for run in lineage if run.id in evaluation.parents and run.stage == "reward"), None)
    labels = _labels_of(project, reward)
    if labels is not None:
        lineage = sorted([*lineage, labels], key=lambda run: run.started)
    reference = next((parent for parent in policy.parents if parent.startswith("sft-")), project.settings.model)
    seconds = _seconds(lineage)
    return ReportData(
        project=project.settings.name,
        policy=policy.id,
        reference=reference,
        verdict=found.verdict,
        alarms=[_alarm(text) for text in policy.metrics.get("alarms", [])],
        true_win_rate=found.true,
        judged_win_rate=found.judged,
        proxy_win_rate=found.proxy,
        true_utility=found.true_utility,
        kl=found.kl,
        reference_texts=found.reference_texts,
        policy_texts=found.policy_texts,
        # Runs of before there were other kinds know comparisons only.
        labels=0 if reward is None else reward.metrics.get("judgments", reward.metrics["comparisons"]),
        tokens=sum(run.cost.tokens for run in lineage),
        seconds=seconds,
        peak_memory_mib=peak_memory_mib(),
        held_out_accuracy=_part(Accuracy, reward, "accuracy"),
        calibration=_part(Calibration, reward, "calibration"),
        training=_training(policy),
        reward_against_kl=_frontier(policy),
        examples=found.examples,
        examples_note="The first test prompts in their order; nobody picked them.",
        runs=[RunSource(id=run.id, stage=run.stage) for run in lineage],
        raters=_raters(project, reward, found),
        trust=_trust(project, reward, found),
        worth=_worth(labels),
        seed=evaluation.seed,
        code_version=code_version(),
        created=datetime.now(UTC),
    )


def _ancestors(project: Project, run: RunRecord) -> list[RunRecord]:
    """The run and all that it came from, oldest first."""
    records = {record.id: record for record in project.runs()}
    wanted, queue = {run.id}, [run.id]
    while queue:
        for parent in records[queue.pop()].parents:
            if parent not in wanted:
                wanted.add(parent)
                queue.append(parent)
    return [record for record in records.values() if record.id in wanted]


def _seconds(lineage: list[RunRecord]) -> dict[str, float]:
    by_stage: dict[str, float] = {}
    for run in lineage:
        by_stage[run.stage] = by_stage.get(run.stage, 0.0) + run.cost.seconds
    return {**by_stage, "total": sum(by_stage.values())}


def _alarm(text: str) -> Alarm:
    """An alarm of training reads "KIND alarm at step N: what was seen"."""
    head, _, message = text.partition(": ")
    kind, _, step = head.partition(" alarm at step ")
    return Alarm(kind=kind, message=message, step=int(step) if step.isdigit() else None)


def _part(kind: type[Any], reward: RunRecord | None, name: str) -> Any:
    if reward is None:
        return Undefined(reason="This policy was not optimised against a reward model.")
    value = reward.metrics[name]
    return Undefined.model_validate(value) if set(value) == {"reason"} else kind.model_validate(value)


def _point(row: dict[str, float]) -> TrainingPoint:
    return TrainingPoint(
        step=int(row["step"]),
        reward=row["reward"],
        # Runs of an earlier heed have one penalty, taken off.
        constraint=row["constraint"] if "constraint" in row else -row.get("penalty", 0.0),
        constraints=_named(row, "constraint"),
        broken=_named(row, "broken"),
        kl=row["kl"],
        entropy=row["entropy"],
        length=row["length"],
        proxy=row.get("proxy"),
        true=row.get("true"),
    )


def _named(row: dict[str, float], kind: str) -> dict[str, float]:
    """The figures ``KIND:NAME`` of a step, by name."""
    return {key.removeprefix(f"{kind}:"): value for key, value in row.items() if key.startswith(f"{kind}:")}


def _training(policy: RunRecord) -> list[TrainingPoint] | Undefined:
    history = policy.metrics["history"]
    if history and "reward" not in history[0]:
        return Undefined(reason="It learned from judgments as they are: nothing was sampled or scored on the way.")
    return [_point(row) for row in history]


def _frontier(policy: RunRecord) -> list[FrontierPoint] | Undefined:
    points = policy.metrics.get("frontier", [])
    if "frontier" not in policy.metrics:
        return Undefined(reason="It learned from judgments as they are: nothing was sampled or scored on the way.")
    if not points:
        return Undefined(reason="No true utility is known, so there were no audits.")
    return [FrontierPoint.model_validate(point) for point in points]


def _raters(project: Project, reward: RunRecord | None, found: Evaluation) -> list[RaterSource]:
    kinds = {rater.name: rater.kind for rater in project.store.raters()}
    given: Counter[str] = Counter()
    if reward is not None:
        given.update(s.feedback.rater for s in project.store.feedback(ids=project.feedback_of(reward.id)))
    training = [
        RaterSource(name=name, kind=kinds[name], labels=count, used_for="training")
        for name, count in sorted(given.items())
    ]
    held_out = [
        RaterSource(name=name, kind="simulated", labels=count, used_for="evaluation")
        for name, count in sorted(found.raters.items())
    ]
    return training + held_out


def _trust(project: Project, reward: RunRecord | None, found: Evaluation) -> RatersPart | Undefined:
    """How far the raters whom the reward model learned from can be trusted, by what it learned from."""
    if reward is None:
        return Undefined(reason="This policy was not optimised against a reward model.")
    judgments = [stored.feedback for stored in project.store.feedback(ids=project.feedback_of(reward.id))]
    answers = answers_of_feedback(judgments)
    if not answers.size:
        return Undefined(
            reason="The reward model did not learn from comparisons, rankings, ratings or thumbs of raters."
        )
    groups = {rater.name: rater.group for rater in project.store.raters() if rater.group}
    trust = trust_of(answers, groups)
    prompts = {" ".join([one.kind, *sorted(one.completion_ids)]): one.prompt_id for one in judgments}
    wanted = [prompts[one.item] for one in trust.parted[:MOST_SHOWN]]
    texts = {prompt.id: prompt.content for prompt in project.store.prompts(ids=unique(wanted))}
    return raters_part(trust, found.judged_by_group, lambda item: _beginning(texts[prompts[item]]))


def _labels_of(project: Project, reward: RunRecord | None) -> RunRecord | None:
    """The newest run that measured what the labels of this reward model have taught."""
    if reward is None:
        return None
    told = [run for run in project.runs() if run.stage == LABELS and run.state == "done" and reward.id in run.parents]
    return told[-1] if told else None


def _worth(labels: RunRecord | None) -> LabelsWorth | Undefined:
    """What such a run says."""
    if labels is None:
        return NOT_MEASURED
    metrics = labels.metrics
    if "points" not in metrics["curve"]:
        return Undefined.model_validate(metrics["curve"])
    rewards = [
        KnownReward(labels=run["labels"], accuracy=run["accuracy"]["estimate"])
        for run in metrics["earlier"]
        if run["accuracy"]["estimate"] is not None
    ]
    return LabelsWorth(verdict=metrics["verdict"], curve=metrics["curve"], rewards=rewards)


def _beginning(prompt: PromptContent) -> str:
    return cut(prompt if isinstance(prompt, str) else prompt[-1].content)
