"""Which parts the likelihood has, and what the model knows beside the reward, by the judgments that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from heed.config import RewardSettings
from heed.errors import DataError
from heed.models.components import REWARD, Component
from heed.train.likelihoods import (
    ComparisonPart,
    DefectPart,
    FirstPart,
    Judged,
    LevelReader,
    LevelsPart,
    OrdinalPart,
    Part,
    RankingPart,
    RegressionPart,
    ShareReader,
    ThumbPart,
)

MOST_LEVELS = 21
"""Levels of a scale that is read as steps; one of more, or without steps, is read as continuous."""


class Attribute(NamedTuple):
    """A rated attribute: how many levels its scale has, 0 where it is continuous or not always the same."""

    name: str
    levels: int


@dataclass
class Plan:
    """What a likelihood is made of.

    Attributes:
        parts: of the likelihood.
        components: what the model knows of a text; the first is the reward.
        links: of each component the part that learns how its outputs become a value.
        weights: of the components in the reward, where the user sets none.
    """

    parts: list[Part]
    components: list[Component] = field(default_factory=lambda: [Component(REWARD, "reward")])
    links: dict[str, Part] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=lambda: {REWARD: 1.0})

    @property
    def columns(self) -> int:
        """Outputs of the network (count), the reward among them."""
        return max(part.column + part.size for part in self.components)

    def know(self, component: Component, part: Part) -> None:
        """Add a component, whose value ``part`` learns.

        Raises:
            DataError: another one has its name.
        """
        if component.name in self.links or component.name == REWARD:
            raise DataError(
                f"two things are called '{component.name}'",
                f"attributes and defects need names of their own, and '{REWARD}' is the reward itself.",
                "Rename one of them in the judgments.",
            )
        self.components.append(component)
        self.links[component.name] = part


def plan_of(rows: Sequence[Judged], settings: RewardSettings, raters: int) -> Plan:
    """The parts that these judgments need, and what a model of ``settings.kind`` knows and rewards.

    Raises:
        DataError: an attribute and a defect have the same name.
    """
    kinds = {row.kind for row in rows}
    plan = Plan([])
    if "comparison" in kinds:
        plan.parts.append(ComparisonPart(settings.ties, rows))
    if "ranking" in kinds:
        plan.parts.append(RankingPart())
    for kind in ("edit", "demonstration"):
        if kind in kinds:
            plan.parts.append(FirstPart(kind))
    if "thumb" in kinds:
        plan.parts.append(ThumbPart(rows))
    if "rating" in kinds:
        _plan_ratings(plan, rows, settings, raters)
    if "critique" in kinds:
        _plan_critiques(plan, rows, settings, raters)
    return plan


def _plan_ratings(plan: Plan, rows: Sequence[Judged], settings: RewardSettings, raters: int) -> None:
    """A single attribute is how good a text is; of several each has an output of its own, and the reward their mean score."""
    attributes = attributes_of(rows)
    if settings.kind == "rating":
        plan.weights = {attribute.name: 1 / len(attributes) for attribute in attributes}
    single = len(attributes) == 1
    for attribute in attributes:
        column = 0 if single and settings.ratings != "levels" else plan.columns
        part, component = _part_of(attribute, rows, settings.ratings, column, raters)
        plan.parts.append(part)
        plan.know(component, part)
    if not single or settings.ratings == "levels":
        weights = {a.name: max(0.0, settings.weights.get(a.name, 0.0 if settings.weights else 1.0)) for a in attributes}
        reader = ShareReader("rating", _mean_share(weights if any(weights.values()) else dict.fromkeys(weights, 1.0)))
        plan.parts.append(RegressionPart(reader, rows, 0))


def _part_of(
    attribute: Attribute, rows: Sequence[Judged], ratings: str, column: int, raters: int
) -> tuple[Part, Component]:
    name, levels = attribute
    if ratings == "regression" or not levels:
        return RegressionPart(ShareReader("rating", _share(name)), rows, column), Component(name, "share", column)
    reader = LevelReader("rating", levels, _level(name))
    if ratings == "levels":
        return LevelsPart(reader, rows, column), Component(name, "levels", column, levels)
    return OrdinalPart(reader, rows, column, raters), Component(name, "ordinal", column)


def _plan_critiques(plan: Plan, rows: Sequence[Judged], settings: RewardSettings, raters: int) -> None:
    """Each defect has an output of its own, and the severity of the worst one tells of the reward."""
    defects = sorted({defect for row in rows if row.kind == "critique" for defect in row.said})
    severities = {defect: settings.severities.get(defect, 1) for defect in defects}
    if settings.kind == "critique":
        plan.weights = {defect: -float(severity) for defect, severity in severities.items()} or {REWARD: 1.0}
    if not defects:
        return
    part = DefectPart(defects, rows, plan.columns, raters)
    plan.parts.append(part)
    for place, defect in enumerate(defects):
        plan.know(Component(defect, "defect", part.column + place), part)
    worst = max(severities.values())
    reader = LevelReader(
        "critique", worst + 1, lambda row: worst - max((severities.get(d, 0) for d in row.said), default=0)
    )
    plan.parts.append(OrdinalPart(reader, rows, 0, raters))


def attributes_of(rows: Sequence[Judged]) -> list[Attribute]:
    """The rated attributes by name, with the levels of their scales."""
    scales: dict[str, set[tuple[float, float, float | None]]] = {}
    for row in rows:
        if row.kind == "rating":
            for name, (_, low, high, step) in row.said.items():
                scales.setdefault(name, set()).add((low, high, step))
    found = []
    for name, asked in sorted(scales.items()):
        low, high, step = next(iter(asked))
        levels = 0 if len(asked) > 1 or step is None else round((high - low) / step) + 1
        found.append(Attribute(name, levels if levels <= MOST_LEVELS else 0))
    return found


def _level(name: str) -> Callable[[Judged], int | None]:
    def level(row: Judged) -> int | None:
        if name not in row.said:
            return None
        score, low, _, step = row.said[name]
        return round((score - low) / step)

    return level


def _share(name: str) -> Callable[[Judged], float | None]:
    def share(row: Judged) -> float | None:
        if name not in row.said:
            return None
        score, low, high, _ = row.said[name]
        return float((score - low) / (high - low))

    return share


def _mean_share(weights: dict[str, float]) -> Callable[[Judged], float | None]:
    """The quality score of a rating: the mean share of the attributes that it scores, by their weights."""

    def share(row: Judged) -> float | None:
        said = [(weights[name], share_of) for name in weights if (share_of := _share(name)(row)) is not None]
        total = sum(weight for weight, _ in said)
        return sum(weight * each for weight, each in said) / total if total else None

    return share


def links_of(plan: Plan) -> dict[str, Tensor]:
    """How the outputs of each component become a value, as its part has learned it of the usual rater."""
    found: dict[str, Tensor] = {}
    for component in plan.components[1:]:
        part = plan.links[component.name]
        if isinstance(part, OrdinalPart):
            scale, offsets = part.log_scale.exp(), part.thresholds()
        elif isinstance(part, RegressionPart):
            scale, offsets = part.log_scale.exp(), part.base
        elif isinstance(part, DefectPart):
            scale, offsets = None, part.offsets[part.defects.index(component.name)]
        else:
            assert isinstance(part, LevelsPart)
            scale, offsets = None, part.offsets
        found[f"{component.name}/offsets"] = offsets.detach().clone()
        if scale is not None:
            found[f"{component.name}/scale"] = scale.detach().clone()
    return found
