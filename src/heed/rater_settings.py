"""The section ``raters`` of ``heed.yaml``: who judges, and how simulated raters go wrong."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from heed.settings import Fraction, Name, Settings

BehaviourName = Literal[
    "careful",
    "noisy",
    "lazy_left",
    "lazy_long",
    "length_loving",
    "flattering",
    "inverted",
    "colluding",
    "random",
    "drifting",
    "teacher",
]
BEHAVIOURS: tuple[BehaviourName, ...] = get_args(BehaviourName)

SHARED: tuple[BehaviourName, ...] = ("lazy_left", "inverted", "colluding", "random", "drifting")
"""Faults that show in a share of the judgments; the others show in all of them alike."""

_OF_TEACHERS = ("beta", "gamma", "mistake", "skip", "equal")


class SimulatedRaterSettings(Settings):
    """One simulated rater."""

    name: Name = Field(description="the rater's name, unique in the project")
    behaviour: BehaviourName = Field("careful", description="the rater's fault")
    group: Name = Field("everyone", description="group whose weights the rater applies to the parts of the utility")
    weights: dict[Name, float] | None = Field(
        None,
        description="own weights of parts of the utility in place of the group's (utility units), below 0 for values "
        "opposed to it; the group is then a mere label",
    )
    noise: float | None = Field(
        None,
        ge=0.0,
        description="scale of the logistic noise on utility differences (utility units); empty takes the behaviour's own",
    )
    share: Fraction | None = Field(
        None,
        description="share of the judgments in which the fault shows (probability); empty takes the behaviour's own",
    )
    ring: Name = Field("ring", description="colluding raters of one ring answer alike")
    beta: float | None = Field(
        None, ge=0.0, description="teacher: rationality (1 over utility units), 0 chooses by chance; empty never errs"
    )
    gamma: Fraction | None = Field(
        None, description="teacher: what a step counts beside the one after it (probability); below 1 it is myopic"
    )
    mistake: Fraction | None = Field(None, description="teacher: share of choices that are flipped (probability)")
    skip: float | None = Field(None, description="teacher: skips pairs of which neither is worth this (utility units)")
    equal: float | None = Field(
        None, ge=0.0, description="teacher: calls pairs equal that differ by less than this (utility units)"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> SimulatedRaterSettings:
        is_teacher = self.behaviour == "teacher"
        given = [name for name in _OF_TEACHERS if getattr(self, name) is not None]
        if given and not is_teacher:
            raise ValueError(
                f"'{given[0]}' belongs to the behaviour teacher, and '{self.name}' is {self.behaviour}; "
                f"set behaviour: teacher, or leave {given[0]} out"
            )
        if self.share is not None and self.behaviour not in SHARED:
            raise ValueError(
                f"the fault of a {self.behaviour} rater shows in all judgments alike, so '{self.name}' has no share; "
                f"leave it out, or use one of {', '.join(SHARED)}"
            )
        if is_teacher and self.noise is not None:
            raise ValueError(f"a teacher such as '{self.name}' errs by beta, not by noise; set beta")
        if self.ring != "ring" and self.behaviour != "colluding":
            raise ValueError(f"'{self.name}' is {self.behaviour} and in no ring; set behaviour: colluding")
        return self


class RatersSettings(Settings):
    """Who judges."""

    kind: Literal["human", "simulated"] = Field("human", description="people by 'heed ask', or simulated raters")
    utility: str = Field(
        "",
        description="true utility of simulated raters: 'support_desk', 'vader', or 'package.module:function' of (prompt, completion)",
    )
    simulated: list[SimulatedRaterSettings] = Field(default_factory=list, description="simulated raters that train")
    held_out: list[SimulatedRaterSettings] = Field(
        default_factory=list, description="simulated raters that only judge evaluations"
    )
    comparisons: int = Field(1000, ge=1, description="comparisons asked for in one round (count)")
    guidelines: str = Field("Which reply would you rather have received?", description="what a rater is asked")

    @model_validator(mode="after")
    def _judges_do_not_skip(self) -> RatersSettings:
        skips = next((one.name for one in self.held_out if one.skip is not None), None)
        if skips is not None:
            raise ValueError(f"'{skips}' of held_out would skip pairs that an evaluation needs judged; leave skip out")
        return self
