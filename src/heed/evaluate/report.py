"""The report: ``report.json`` with every number under a documented key, ``report.html`` with the same numbers for people.

``ReportData`` is the schema of ``report.json``. The page is one file without any script: charts are inline SVG, so that
it opens offline, prints, follows dark and light, and nothing that a language model wrote can run in it.
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, computed_field, field_validator, model_validator

from heed.errors import ProjectError
from heed.evaluate.compare import FrontierPoint, WinRate
from heed.evaluate.learning import NOT_MEASURED, LabelsWorth
from heed.evaluate.metrics import Accuracy, Calibration, KLSummary, TextStatistics
from heed.evaluate.report_raters import RatersPart
from heed.evaluate.verdict import Verdict
from heed.feedback.kinds import PromptContent
from heed.statistics import Interval, Record, Undefined


class TrainingPoint(Record):
    """One step of policy optimisation."""

    step: int = Field(ge=0, description="step of the optimisation: a rollout with its updates (count)")
    reward: float = Field(description="mean score of the rollout by the reward model, the proxy (reward units)")
    constraint: float = Field(
        0.0, description="what all constraints add to it, below 0 where they are broken (reward units)"
    )
    constraints: dict[str, float] = Field(
        default_factory=dict, description="what each constraint adds to it, by name (reward units)"
    )
    broken: dict[str, float] = Field(
        default_factory=dict, description="share of the completions that break each rule, by name (0 to 1)"
    )
    kl: float = Field(description="mean KL to the reference (nats a completion)")
    entropy: float = Field(description="mean entropy of the policy (nats a token)")
    length: float = Field(description="mean length of the completions (tokens)")
    proxy: float | None = Field(None, description="mean score by the reward model on held-out prompts; null: no audit")
    true: float | None = Field(None, description="mean true utility on held-out prompts; null: no audit, or no truth")


class MeanChange(Record):
    """A mean on both sides and what changed."""

    reference: Interval = Field(description="mean of the reference's completions")
    policy: Interval = Field(description="mean of the policy's completions")
    difference: Interval = Field(description="policy minus reference, paired by prompt")


class Example(Record):
    """One held-out prompt, answered before and after."""

    prompt: PromptContent = Field(description="the prompt: text, or the turns of a conversation")
    before: str = Field(description="a completion of the reference")
    after: str = Field(description="a completion of the policy")
    before_scores: dict[str, float] = Field(description="scores of the reference's completion, by name")
    after_scores: dict[str, float] = Field(description="scores of the policy's completion, by name")


class Alarm(Record):
    """Something that went wrong or looked like it."""

    kind: str = Field(description="which alarm: KL, entropy, length or truth")
    message: str = Field(description="what was seen, a sentence for people")
    step: int | None = Field(None, description="step of the optimisation (count); null where it belongs to none")


class RunSource(Record):
    """A run that this report rests on."""

    id: str = Field(description="id of the run")
    stage: str = Field(description="its stage, such as reward or policy")


class RaterSource(Record):
    """A rater whose judgments this report rests on."""

    name: str = Field(description="the rater's name in the project")
    kind: Literal["human", "judge", "simulated"] = Field(description="a person, an AI, or a simulation")
    labels: int = Field(ge=0, description="judgments given (count)")
    used_for: Literal["training", "evaluation"] = Field(description="what they were used for")


class ReportData(Record):
    """``report.json``. A part that a run does not have is an object with the one key ``reason``."""

    schema_version: Literal[1] = Field(1, description="version of these keys")
    project: str = Field(description="name of the project")
    policy: str = Field(description="id of the run that made the policy")
    reference: str = Field(description="id or name of the policy that it is compared with")
    verdict: Verdict = Field(description="what the comparison comes to")
    alarms: list[Alarm] = Field(description="what went wrong or looked like it, in order")

    true_win_rate: WinRate = Field(description="share of comparisons won by true (gold) utility, ties as half (0 to 1)")
    judged_win_rate: WinRate = Field(description="the same by held-out raters (0 to 1)")
    proxy_win_rate: WinRate = Field(description="the same by the reward model that training used (0 to 1)")
    true_utility: MeanChange | Undefined = Field(description="mean true utility on both sides (utility units)")
    kl: KLSummary | Undefined = Field(description="KL to the reference on held-out prompts")
    reference_texts: TextStatistics = Field(description="length and diversity before")
    policy_texts: TextStatistics = Field(description="length and diversity after")

    labels: int = Field(ge=0, description="judgments that training used (count)")
    tokens: int = Field(ge=0, description="tokens sampled and trained on, all stages (count)")
    seconds: dict[str, float] = Field(description="wall-clock seconds by stage, and 'total'")
    peak_memory_mib: float = Field(ge=0.0, description="peak resident memory of the processes (MiB)")

    held_out_accuracy: Accuracy | Undefined = Field(description="reward model on held-out comparisons")
    calibration: Calibration | Undefined = Field(description="the reward model's predicted preference probabilities")
    training: list[TrainingPoint] | Undefined = Field(description="curves of policy optimisation")
    reward_against_kl: list[FrontierPoint] | Undefined = Field(description="proxy and true gain at each audit, by KL")

    examples: list[Example] = Field(description="before and after on held-out prompts")
    examples_note: str = Field("", description="how the examples were chosen, a sentence for people")
    runs: list[RunSource] = Field(description="runs that this report rests on, oldest first")
    raters: list[RaterSource] = Field(description="who judged, and how much")
    trust: RatersPart | Undefined = Field(
        Undefined(reason="Whom to trust was not looked at when this report was made."),
        description="how far the raters of training can be trusted, and where their groups part",
    )
    worth: LabelsWorth | Undefined = Field(
        NOT_MEASURED,
        description="the learning curve of the labels that the reward model had, and what further ones would bring",
    )
    seed: int = Field(description="seed of everything random")
    code_version: str = Field(description="version of heed, and of the code where known")
    created: datetime = Field(description="when the report was made (UTC)")

    @computed_field(description="mean KL to the reference (nats a completion)")  # type: ignore[prop-decorator]
    @property
    def kl_nats(self) -> float | Undefined:
        if isinstance(self.kl, Undefined):
            return self.kl
        return _estimate(self.kl.per_completion)

    @computed_field(description="distinct-2 of the policy over distinct-2 of the reference")  # type: ignore[prop-decorator]
    @property
    def distinct_2_ratio(self) -> float | Undefined:
        after, before = self.policy_texts.distinct_2, self.reference_texts.distinct_2
        if isinstance(after, Undefined):
            return after
        return before if isinstance(before, Undefined) else after / before

    @computed_field(description="share of held-out comparisons ordered rightly (0 to 1)")  # type: ignore[prop-decorator]
    @property
    def reward_accuracy(self) -> float | Undefined:
        if isinstance(self.held_out_accuracy, Undefined):
            return self.held_out_accuracy
        return _estimate(self.held_out_accuracy.clustered)

    @field_validator("seconds")
    @classmethod
    def _has_total(cls, seconds: dict[str, float]) -> dict[str, float]:
        if "total" not in seconds:
            raise ValueError("'total' is missing")
        return seconds

    @model_validator(mode="before")
    @classmethod
    def _without_computed(cls, values: Any) -> Any:
        """Let ``report.json`` be read back: computed keys follow from the others."""
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if key not in cls.model_computed_fields}
        return values


def _estimate(interval: Interval) -> float | Undefined:
    if interval.estimate is None:
        return Undefined(reason=interval.reason or "It has no estimate.")
    return interval.estimate


def render(data: ReportData) -> str:
    """The page of ``data``: one self-contained HTML file."""
    from heed.evaluate.report_page import page

    return page(data)


def write(data: ReportData, folder: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html`` into ``folder``, each as a whole or not at all; the two paths.

    Raises:
        ProjectError: the folder cannot be written to.
    """
    html = render(data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (
            _replace(folder / "report.json", data.model_dump_json(indent=2) + "\n"),
            _replace(folder / "report.html", html),
        )
    except OSError as error:
        raise ProjectError(
            f"the report cannot be written to {folder}",
            f"{error.strerror or error}.",
            "Make room or choose another folder.",
        ) from error


def _replace(path: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
