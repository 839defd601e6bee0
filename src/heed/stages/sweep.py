"""A sweep as a stage: the same start optimised by several settings and seeds, each judged on held-out prompts by what it was not
trained on, where there is such a thing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from heed.algorithms import algorithm_named
from heed.config import DQNSettings, EvaluateSettings, ILQLSettings, PolicySettings, PreferenceSettings, parse_settings
from heed.errors import ConfigError, DataError, HeedError, ProjectError
from heed.evaluate.frontier import Sweep, SweepRun, advice, frontier, settings_of
from heed.evaluate.frontier_chart import picture
from heed.feedback.kinds import PromptContent
from heed.files import file_errors, write_text
from heed.fitting import fitted
from heed.stages.data import Demonstrations
from heed.stages.evaluation import Evaluation, evaluate_policy
from heed.stages.identity import model_identity
from heed.stages.ilql import train_ilql
from heed.stages.judgments import Judgment
from heed.stages.policy import train_policy
from heed.stages.preference import train_preferences
from heed.stages.results import StageResult, content_hash, plain
from heed.statistics import Interval, Undefined, undefined_interval
from heed.train.progress import Watcher
from heed.train.text_rewards import TextReward, known_by, of_texts

TITLE = "What was gained, against the KL to the reference"
_EVALUATION = ".evaluation.json"
_CONFIDENCE = 0.95
_OF_DQN = "dqn."
Reward = str | Path | TextReward | Callable[[PromptContent, str], float] | None


@dataclass(frozen=True)
class SweepStart:
    """What every run of a sweep starts from, and what it is judged by.

    Attributes:
        model: the policy at the start, and the reference.
        reward: for algorithms that sample: as ``train_policy`` takes it; None where there is none.
        prompts: to roll out; held_out: to judge on.
        judgments: for algorithms that learn from them as they are, with the raters' ``reliability``.
        truth: the true utility, where one is known; looked at while training too, never trained on.
        judge: a reward model's folder that no run was trained on, which stands in for a truth.
        policy, preference, ilql, dqn: settings that the sweep varies; of deep Q-learning the last beside the first.
        pretraining: demonstrations whose likelihood is part of each update, by ``policy.pretraining_coefficient``.
    """

    model: str
    reward: Reward
    prompts: Sequence[PromptContent]
    held_out: Sequence[PromptContent]
    judgments: Sequence[Judgment] = ()
    reliability: Mapping[str, float] = field(default_factory=dict)
    truth: Callable[[PromptContent, str], float] | None = None
    judge: str | Path | None = None
    policy: PolicySettings = field(default_factory=PolicySettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    ilql: ILQLSettings = field(default_factory=ILQLSettings)
    dqn: DQNSettings = field(default_factory=DQNSettings)
    pretraining: Demonstrations = ()


@dataclass(frozen=True)
class Variation:
    """One setting of a sweep: an algorithm, and what differs from the start's settings; ``dqn`` is what only deep Q-learning knows."""

    algorithm: str
    changes: Mapping[str, Any]
    settings: PolicySettings | PreferenceSettings | ILQLSettings
    dqn: DQNSettings | None = None

    @property
    def name(self) -> str:
        """As people tell it from the others."""
        return ", ".join([self.algorithm, *(f"{key} {value}" for key, value in self.changes.items())])


def variations(start: SweepStart, algorithms: Sequence[str], varied: Mapping[str, Sequence[Any]]) -> list[Variation]:
    """Every algorithm with every combination of the values that its settings have room for.

    Raises:
        ConfigError: no algorithm of these has a setting, a value does not fit, or there is nothing to learn from.
    """
    chosen = [algorithm_named(name) for name in dict.fromkeys(algorithms)]
    offline = {one.name: one.on_judgments for one in chosen}
    fields = {name: _keys(type(_start_of(start, name, off))) for name, off in offline.items()}
    if "dqn" in fields:
        fields["dqn"] |= {_OF_DQN + key for key in DQNSettings.model_fields}
        varied = {_OF_DQN + key if key in DQNSettings.model_fields else key: values for key, values in varied.items()}
    for key in varied:
        if key == "algorithm":
            raise ConfigError("--vary algorithm", "algorithms have an option of their own.", "Write --algorithm A,B.")
        if not any(key in known for known in fields.values()):
            raise ConfigError(
                f"--vary {key}",
                f"{' and '.join(fields)} have no such setting.",
                "See docs/settings.md, under policy, preference, ilql and dqn.",
            )
    found: list[Variation] = []
    for one in chosen:
        own = {key: _each_once(values) for key, values in varied.items() if key in fields[one.name]}
        for values in product(*own.values()):
            changes = dict(zip(own, values, strict=True))
            of_dqn = {key.removeprefix(_OF_DQN): value for key, value in changes.items() if key.startswith(_OF_DQN)}
            others = {key: value for key, value in changes.items() if not key.startswith(_OF_DQN)}
            settings = _settings(start, one.name, offline[one.name], others)
            found.append(Variation(one.name, changes, settings, _dqn(start, one.name, of_dqn)))
    _refuse_without_source(start, offline)
    if start.truth is None and start.judge is None and start.reward is None:
        raise ConfigError(
            "a sweep that nothing measures",
            "there is no reward either, of those that learn from judgments.",
            "Give --truth my_truth:score, or --judge DIR, a reward model fitted on other judgments.",
        )
    return found


def _each_once(values: Sequence[Any]) -> list[Any]:
    """A value that is given twice would count as another seed."""
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _start_of(start: SweepStart, algorithm: str, offline: bool) -> PolicySettings | PreferenceSettings | ILQLSettings:
    """The settings that an algorithm has room in."""
    if not offline:
        return fitted(start.policy, algorithm)[0]
    return start.ilql if algorithm == "ilql" else start.preference


def _settings(
    start: SweepStart, algorithm: str, offline: bool, changes: Mapping[str, Any]
) -> PolicySettings | PreferenceSettings | ILQLSettings:
    source = f"--vary {', '.join(changes)}" if changes else f"--algorithm {algorithm}"
    own, named = _start_of(start, algorithm, offline), {} if offline else {"algorithm": algorithm}
    values = own.model_dump() | named
    for key, value in changes.items():
        *sections, last = key.split(".")
        reduce(lambda inner, section: inner[section], sections, values)[last] = value
    return parse_settings(type(own), values, source)


def _dqn(start: SweepStart, algorithm: str, changes: Mapping[str, Any]) -> DQNSettings | None:
    if algorithm != "dqn":
        return None
    return parse_settings(DQNSettings, start.dqn.model_dump() | dict(changes), f"--vary {', '.join(changes)}")


def _keys(kind: type[BaseModel]) -> set[str]:
    """Names of all settings of a section, those of a section within it behind a dot."""
    found = set(kind.model_fields)
    for name, field_ in kind.model_fields.items():
        if isinstance(field_.annotation, type) and issubclass(field_.annotation, BaseModel):
            found |= {f"{name}.{key}" for key in _keys(field_.annotation)}
    return found


def _refuse_without_source(start: SweepStart, offline: Mapping[str, bool]) -> None:
    sampling = [name for name, off in offline.items() if not off]
    learning = [name for name, off in offline.items() if off]
    if sampling and start.reward is None:
        raise ConfigError(
            f"a sweep of {', '.join(sampling)} without a reward",
            "algorithms that sample are taught by one.",
            "Give --reward, or in a project train one: heed train reward.",
        )
    if learning and not start.judgments:
        raise ConfigError(
            f"a sweep of {', '.join(learning)} without judgments",
            "these algorithms learn from nothing else.",
            "Give --data FILE, or judge something first: heed ask.",
        )


def run_sweep(
    start: SweepStart,
    chosen: Sequence[Variation],
    seeds: Sequence[int],
    out: Path,
    evaluate: EvaluateSettings | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> Sweep:
    """Train and judge every variation with every seed, and write ``sweep.json``, ``sweep.svg`` and ``sweep.html`` to ``out``; the same
    call goes on where it was stopped, and does again nothing that is done.

    A run that fails is put down with its error, and the others go on.

    Raises:
        ConfigError: the evaluation takes the likeliest tokens. DataError: there are too few prompts to judge on. ProjectError: the
            folder cannot be written, or holds a sweep from another start. Stopped: on Ctrl-C, after a checkpoint.
    """
    watcher, evaluate = watcher or Watcher(), evaluate or EvaluateSettings()
    if evaluate.temperature == 0:
        raise ConfigError(
            "a sweep with evaluate.temperature 0",
            "the KL that its picture is drawn against is about samples.",
            "Set evaluate.temperature to 1 for the sweep.",
        )
    if len(start.held_out) < 2:
        raise DataError(
            f"{len(start.held_out)} prompts to judge on",
            "an interval needs at least two.",
            "Give more held-out prompts.",
        )
    total = len(chosen) * len(seeds)
    watcher.plan("sweep", {"runs": f"{len(chosen)} settings x {len(seeds)} seeds", "judged by": measure_of(start)[0]})
    with file_errors(f"folder {out}"):
        out.mkdir(parents=True, exist_ok=True)
    sweep = _swept(start, [])
    _refuse_another(out, sweep.start)
    for name in dict.fromkeys(one.algorithm for one in chosen if isinstance(one.settings, PolicySettings)):
        if told := fitted(start.policy, name)[1]:
            watcher.say(f"{name} takes {', '.join(told.values())}, where nothing else is asked for")
    for number, (variation, seed) in enumerate(product(chosen, seeds), 1):
        watcher.say(f"{number} of {total}: {variation.name}, seed {seed}")
        run = _run(start, variation, seed, out, evaluate, device, watcher)
        sweep = sweep.model_copy(update={"runs": [*sweep.runs, run]})
        # After each run: whoever looks in between, or stops here, has what there is.
        write(sweep, out)
    return sweep


def measure_of(start: SweepStart) -> tuple[str, float, bool]:
    """What is gained, in words; its value at the reference; and whether no run was trained on it."""
    if start.truth is not None:
        return "true utility gained over the reference", 0.0, True
    if start.judge is not None:
        return "win rate against the reference, by a judge that no run was trained on", 0.5, True
    if _reward_of_texts(start) is not None:
        return "reward gained over the reference, by the reward that was trained on", 0.0, False
    return "win rate against the reference, by the reward that was trained on", 0.5, False


def _reward_of_texts(start: SweepStart) -> TextReward | None:
    """The reward where it can be asked about any text, and stands in for a truth or a judge that are not there."""
    return None if start.reward is None or start.judge is not None else of_texts(start.reward)


def _swept(start: SweepStart, runs: list[SweepRun]) -> Sweep:
    measure, nothing, is_truth = measure_of(start)
    return Sweep(measure=measure, nothing=nothing, is_truth=is_truth, runs=runs, start=_start_known_by(start))


def _start_known_by(start: SweepStart) -> str:
    reward = None if start.reward is None else of_texts(start.reward)
    return content_hash(
        [
            model_identity(start.model),
            [reward.name, reward.source] if reward is not None else start.reward and model_identity(str(start.reward)),
            [plain(prompt) for prompt in start.prompts],
            list(start.judgments),
        ]
    )


def _refuse_another(out: Path, start: str) -> None:
    """Raise ProjectError where the folder shows a sweep from another start, which this one's page would take the place of."""
    with file_errors(f"folder {out}"):
        try:
            found = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:
            found = None
    if not isinstance(found, dict) or found.get("start") not in ("", start):
        raise ProjectError(
            f"folder {out}",
            "its sweep.json is of a sweep with another model, reward, prompts or judgments, and would be replaced.",
            "Choose another folder: --out DIR.",
        )


def _run(
    start: SweepStart,
    variation: Variation,
    seed: int,
    out: Path,
    settings: EvaluateSettings,
    device: str,
    watcher: Watcher,
) -> SweepRun:
    known = {"name": variation.name, "algorithm": variation.algorithm, "changes": dict(variation.changes), "seed": seed}
    folder = out / _folder_name(variation, seed)
    try:
        done = _trained(start, variation, seed, folder, device, watcher)
        found = _judged(start, done.folder, seed, settings, device, watcher)
    except HeedError as error:
        watcher.alarm(f"{variation.name}, seed {seed}: {error}")
        nothing = undefined_interval("The run failed.", "none", _CONFIDENCE)
        return SweepRun(**known, kl=nothing, gain=nothing, error=str(error))
    kl = found.kl.per_completion if not isinstance(found.kl, Undefined) else None
    return SweepRun(
        **known,
        kl=kl or undefined_interval("It cannot be told.", "none", _CONFIDENCE),
        gain=_gain(start, found),
        track=_track(done, start),
        tokens=done.tokens,
        seconds=done.seconds,
        alarms=done.metrics.get("alarms", []),
        folder=str(folder),
    )


def _folder_name(variation: Variation, seed: int) -> str:
    words = re.sub(r"[^a-z0-9.]+", "-", variation.name.lower()).strip("-.")[:60]
    decides = [variation.algorithm, variation.settings.model_dump()]
    if variation.dqn is not None:
        decides.append(variation.dqn.model_dump())
    return f"{words}-{content_hash(decides)[:8]}-seed-{seed}"


def _trained(
    start: SweepStart, variation: Variation, seed: int, folder: Path, device: str, watcher: Watcher
) -> StageResult:
    settings = variation.settings
    if isinstance(settings, PreferenceSettings):
        return train_preferences(
            start.model,
            start.judgments,
            folder,
            variation.algorithm,
            settings,
            seed,
            start.reliability,
            device,
            watcher,
        )
    if isinstance(settings, ILQLSettings):
        return train_ilql(start.model, start.judgments, folder, settings, seed, start.reliability, device, watcher)
    assert start.reward is not None
    return train_policy(
        start.model,
        start.reward,
        start.prompts,
        folder,
        settings,
        seed,
        start.truth,
        device,
        watcher,
        start.pretraining,
        variation.dqn,
    )


def _judged(
    start: SweepStart, policy: Path, seed: int, settings: EvaluateSettings, device: str, watcher: Watcher
) -> Evaluation:
    """The evaluation of a policy, as it stands beside it or made now."""
    measure, known, by = start.truth, None if start.truth is None else known_by(start.truth), None
    if measure is None and (own := _reward_of_texts(start)) is not None:
        scores, known = own.scores, f"{own.name} {own.source}"

        def measure(prompt: PromptContent, text: str) -> float:
            return float(scores([prompt], [text])[0])

    elif measure is None:
        by = str(start.judge or start.reward)
    longest = start.policy.max_new_tokens
    identity = content_hash(
        [
            [plain(prompt) for prompt in start.held_out],
            [settings.model_dump(), longest, seed],
            None if by is None else model_identity(by),
            known,
            [model_identity(policy), model_identity(start.model)],
        ]
    )
    # Beside the model, and not in it: what a folder of weights is known by must not change when it is judged.
    kept = policy.with_name(policy.name + _EVALUATION)
    if kept.is_file():
        values = json.loads(kept.read_text(encoding="utf-8"))
        if values.get("identity") == identity:
            return Evaluation.model_validate(values["found"])
    found = evaluate_policy(
        policy, start.model, start.held_out, settings, longest, seed, by, measure, (), device, watcher
    )
    write_text(kept, json.dumps({"identity": identity, "found": found.model_dump(mode="json")}) + "\n")
    return found


def _gain(start: SweepStart, found: Evaluation) -> Interval:
    if start.truth is None and _reward_of_texts(start) is None:
        return Interval(**found.proxy.model_dump(exclude={"length_controlled"}))
    if isinstance(found.true_utility, Undefined):
        return undefined_interval(found.true_utility.reason, "none", _CONFIDENCE)
    return found.true_utility.difference


def _track(done: StageResult, start: SweepStart) -> list[tuple[float, float]]:
    """(KL, true utility gained over the reference on the same prompts) at the audits of the training."""
    looked = [row for row in done.metrics.get("history", []) if isinstance(row, dict) and "true" in row]
    if start.truth is None or not looked:
        return []
    begun = float(done.metrics["reference_true"])
    return [(float(row["kl"]), float(row["true"]) - begun) for row in looked]


def write(sweep: Sweep, folder: Path) -> tuple[Path, ...]:
    """Write the sweep as JSON, as a picture and as a page, each as a whole or not at all; the paths."""
    from heed.evaluate.report_page import environment

    drawn = picture(sweep, TITLE)
    settings = settings_of(sweep)
    page = (
        environment()
        .get_template("sweep.html.jinja")
        .render(
            sweep=sweep,
            settings=settings,
            edge={one.name for one in frontier(settings, sweep.nothing)},
            picture=drawn,
            advice=advice(sweep),
            title=TITLE,
        )
    )
    paths = tuple(folder / name for name in ("sweep.json", "sweep.svg", "sweep.html"))
    for path, text in zip(paths, (sweep.model_dump_json(indent=1) + "\n", str(drawn) + "\n", page), strict=True):
        write_text(path, text)
    return paths
