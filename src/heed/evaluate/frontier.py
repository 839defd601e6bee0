"""What ways to optimise a policy have reached, against how far they have moved it: the figures of a sweep, and what they come to.

A policy that has moved further from its reference has had more chances to find what the reward mistakes for good (Gao et al. 2023,
"Scaling Laws for Reward Model Overoptimization"), so two settings compare by the pair of both numbers, not by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import Field

from heed.statistics import Interval, Record

_NEAR = 0.1
"""Nats a completion that two KL differ by at least where one is called nearer: less is chance."""


class SweepRun(Record):
    """One run of a sweep."""

    name: str = Field(description="what is particular to its settings")
    algorithm: str = Field(description="how the policy was optimised")
    changes: dict[str, Any] = Field(description="settings that vary in the sweep")
    seed: int = Field(description="seed of everything random")
    kl: Interval = Field(description="KL to the reference on held-out prompts (nats a completion)")
    gain: Interval = Field(description="what was gained on held-out prompts, in the sweep's measure")
    track: list[tuple[float, float]] = Field(
        default_factory=list, description="(KL, gain) at the audits of the training, where there were some"
    )
    tokens: int = Field(0, description="tokens sampled or learned from (count)")
    seconds: float = Field(0.0, description="time of the training (seconds)")
    alarms: list[str] = Field(default_factory=list, description="what needed attention in training")
    error: str = Field("", description="why there is no policy; empty where there is one")
    folder: str = Field("", description="where the policy lies")


class Sweep(Record):
    """All runs of a sweep and the measure that they share."""

    measure: str = Field(description="what is gained, with its unit")
    nothing: float = Field(description="the measure of the reference itself")
    is_truth: bool = Field(description="whether the measure is something that no run was trained on")
    runs: list[SweepRun] = Field(description="one a setting and seed")
    start: str = Field("", description="a hash of what all runs learned from; empty where it is not told")


class Setting(NamedTuple):
    """The runs of one setting together: means over the seeds; ``low`` and ``high`` are the least and the greatest end of their
    intervals. ``alarmed`` says whether a run of it raised an alarm."""

    name: str
    kl: float
    gain: float
    low: float
    high: float
    seeds: int
    runs: list[SweepRun]

    @property
    def alarmed(self) -> bool:
        return any(run.alarms for run in self.runs)


def settings_of(sweep: Sweep) -> list[Setting]:
    """The settings of which some run came to an end, in the order of the sweep."""
    by_name: dict[str, list[SweepRun]] = {}
    for run in sweep.runs:
        if not run.error and run.kl.estimate is not None and run.gain.estimate is not None:
            by_name.setdefault(run.name, []).append(run)
    return [_together(name, runs) for name, runs in by_name.items()]


def _together(name: str, runs: list[SweepRun]) -> Setting:
    gains = [run.gain.estimate or 0.0 for run in runs]
    # All seeds are judged on the same prompts, so how far they lie apart says nothing of how far other prompts would.
    low = min(gains + [run.gain.low for run in runs if run.gain.low is not None])
    high = max(gains + [run.gain.high for run in runs if run.gain.high is not None])
    # No divergence is below 0; its estimate may be, by chance.
    kl = max(0.0, fmean(run.kl.estimate or 0.0 for run in runs))
    return Setting(name, kl, fmean(gains), low, high, len(runs), runs)


def frontier(settings: Sequence[Setting], nothing: float) -> list[Setting]:
    """Those that no other beats in both: more gained, and less far from the reference; by KL. The reference itself gains
    ``nothing`` at no KL."""
    kept: list[Setting] = []
    for one in sorted(settings, key=lambda s: (s.kl, -s.gain)):
        if one.gain > (kept[-1].gain if kept else nothing):
            kept.append(one)
    return kept


def advice(sweep: Sweep) -> str:
    """What the sweep says, in a sentence or two."""
    found = settings_of(sweep)
    if not found:
        return "No run came to an end; see what each says."
    best = max(found, key=lambda s: s.gain)
    spread = "ends of its seeds' 95 % intervals" if best.seeds > 1 else "95 % interval"
    told = f"Most is gained by {best.name}: {best.gain:.3g} ({best.low:.3g} to {best.high:.3g}, {spread}) at a KL of {best.kl:.3g}."
    if best.low <= sweep.nothing:
        told += " That is not surely more than nothing."
    if best.alarmed:
        told += " It raised alarms: see what needs a look before you take it."
    nearer = [
        s
        for s in found
        if s is not best and s.high >= best.low and s.kl < 0.75 * best.kl - _NEAR and s.gain > sweep.nothing
    ]
    if nearer:
        other = min(nearer, key=lambda s: s.kl)
        told += f" {other.name} may gain as much ({other.gain:.3g}) and stays nearer to the reference, at a KL of {other.kl:.3g}."
    if not sweep.is_truth:
        told += (
            " This is the reward that was trained on, which rises whether or not texts get better: give a truth or a judge that "
            "was not."
        )
    failed = sum(bool(run.error) for run in sweep.runs)
    return told + (f" {failed} of {len(sweep.runs)} runs failed." if failed else "")
