"""How often the faults of raters are found, and how often honest raters are suspected, on crowds of simulated raters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common import Report, Row
from heed.raters.simulated import SimulatedRater
from heed.raters.trust import Trust, trust_of
from heed.sandbox.crowd import Work, crowd_answers, worth
from heed.statistics import wilson_interval

LEVEL = 0.05
_CAREFUL, _NOISY = 12, 4

Sees = Callable[[Trust, str], bool]


def _flag(*kinds: str) -> Sees:
    """Whether a rater has a flag of one of ``kinds``."""
    return lambda trust, name: any(flag.kind in kinds for flag in trust.raters[name].flags)


def _light(trust: Trust, name: str) -> bool:
    """Whether an answer of a rater counts less than half of what one of the usual careful rater does."""
    usual = sorted(one.weight for other, one in trust.raters.items() if other.startswith("careful"))
    return trust.raters[name].weight < usual[len(usual) // 2] / 2


@dataclass(frozen=True)
class Fault:
    """One fault among sixteen honest raters.

    Attributes:
        raters: that have it, as keyword arguments of simulated raters.
        told: what it is found by. words: the same for the table.
        accounts: second accounts and whose they are.
    """

    raters: Sequence[Mapping[str, Any]]
    told: Sees
    words: str
    accounts: Mapping[str, str] = field(default_factory=dict)


FAULTS: dict[str, Fault] = {
    "inverted": Fault([{"behaviour": "inverted"}] * 2, _flag("inverted"), "flag inverted"),
    "random": Fault([{"behaviour": "random"}] * 2, _flag("chance", "inverted"), "flag chance"),
    "random, by weight": Fault([{"behaviour": "random"}] * 2, _light, "counts less than half"),
    "lazy, left": Fault([{"behaviour": "lazy_left"}] * 2, _light, "counts less than half"),
    "lazy, long": Fault([{"behaviour": "lazy_long"}] * 2, _light, "counts less than half"),
    "drifting": Fault([{"behaviour": "drifting"}] * 2, _flag("drift"), "flag drift"),
    "colluding, two": Fault([{"behaviour": "colluding"}] * 2, _flag("copying", "one_person"), "flag copying"),
    "colluding, four": Fault([{"behaviour": "colluding"}] * 4, _flag("copying", "one_person"), "flag copying"),
    "two accounts of one person": Fault(
        [{"behaviour": "colluding", "share": 1.0}] * 2, _flag("one_person"), "flag one_person", {"fault-1": "fault-0"}
    ),
}


def _crowd(fault: Fault, seed: int) -> list[SimulatedRater]:
    honest = ["careful"] * _CAREFUL + ["noisy"] * _NOISY
    made = [SimulatedRater(f"{kind}-{n}", kind, worth, seed=seed) for n, kind in enumerate(honest)]  # type: ignore[arg-type]
    return made + [
        SimulatedRater(f"fault-{n}", utility=worth, seed=seed, **values) for n, values in enumerate(fault.raters)
    ]


def _look(fault: Fault, answers_each: int, seed: int, gold: int) -> tuple[Trust, list[str]]:
    raters = _crowd(fault, seed)
    work = Work(items=answers_each * len(raters) // 3, overlap=3, gold=gold, accounts=fault.accounts)
    return trust_of(crowd_answers(raters, work, seed), {}), [rater.name for rater in raters]


def rows(report: Report, seeds: Sequence[int] = tuple(range(30)), answers_each: Sequence[int] = (150, 500)) -> None:
    """Add a row for each fault and each amount of answers, and one for false alarms of each kind.

    Args:
        seeds: a crowd each.
        answers_each: answers that each rater gives, three raters an item.
    """
    for count in answers_each:
        for name, fault in FAULTS.items():
            begun, found, faulty = time.perf_counter(), 0, 0
            for seed in seeds:
                trust, names = _look(fault, count, seed, gold=10)
                guilty = [one for one in names if one.startswith("fault")]
                found += sum(fault.told(trust, one) for one in guilty)
                faulty += len(guilty)
            share = wilson_interval(found, faulty)
            report.add(
                Row(
                    f"found: {name}, {count} answers each",
                    share.estimate,
                    "share of raters",
                    share.low,
                    share.high,
                    seeds=tuple(seeds),
                    seconds=time.perf_counter() - begun,
                    details={"by": fault.words, "raters": faulty},
                )
            )
        _false_alarms(report, seeds, count)


def _false_alarms(report: Report, seeds: Sequence[int], count: int) -> None:
    begun, honest = time.perf_counter(), Fault([], _light, "")
    kinds = ("inverted", "chance", "copying", "one_person", "drift", "pattern")
    false = dict.fromkeys(kinds, 0)
    for seed in seeds:
        trust, _ = _look(honest, count, seed, gold=10)
        for kind in kinds:
            false[kind] += any(_flag(kind)(trust, name) for name in trust.raters)
    for kind, crowds in false.items():
        share = wilson_interval(crowds, len(seeds))
        report.add(
            Row(
                f"false alarm in an honest crowd: {kind}, {count} answers each",
                share.estimate,
                "share of crowds",
                share.low,
                share.high,
                target=LEVEL,
                at="most",
                seeds=tuple(seeds),
                seconds=(time.perf_counter() - begun) / len(kinds),
                details={"raters": _CAREFUL + _NOISY},
            )
        )


if __name__ == "__main__":
    import sys

    from common import report as report_of

    made = report_of("trust_raters", whole=False)
    rows(made, tuple(range(int(sys.argv[1]) if len(sys.argv) > 1 else 30)))
    made.finish()
