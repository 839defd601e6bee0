"""Training a policy on judgments as they are, as a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from heed.algorithms import Algorithm, algorithm_named
from heed.config import PreferenceSettings
from heed.errors import ConfigError, DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow, share_of
from heed.stages.identity import model_identity
from heed.stages.judgments import UNRANKED, Judgment, compared, rating_share
from heed.stages.plan import training_plan
from heed.stages.results import Output, StageResult, content_hash, output_folder, prepare_machine, tell_trained_on
from heed.stages.reward_rows import as_judgments, keyed
from heed.stages.shown import weights_of as rater_weights_of
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher
from heed.training_settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

    from heed.models.policy import Policy
    from heed.train.preferences import Example, Text

_FAR = 1.0
"""Nats a token by which better texts are less probable than before where a policy is past use."""
TIES = "ties, which say of no text that it is better"
NEUTRAL = "in the middle of their scale, neither liked nor disliked"
UNTRUSTED = "by raters whose answers tell nothing"
TOO_LONG = "longer than the model's context"


class Said(NamedTuple):
    """What a judgment says of texts of one prompt, as an algorithm learns from it; see :class:`heed.train.preferences.Example`."""

    prompt: PromptContent
    texts: tuple[str, ...]
    places: tuple[int, ...]
    rater: str


@memory_errors()
def train_preferences(
    model: str | Path,
    judgments: Sequence[ComparisonRow | Judgment],
    out: str | Path,
    algorithm: str = "dpo",
    settings: PreferenceSettings | None = None,
    seed: int = 0,
    reliability: Mapping[str, float] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> StageResult:
    """Train a policy on judgments as they are and write it to ``out``; the same call goes on where it was stopped.

    Args:
        model: the policy at the start, which is the reference too.
        judgments: of any kind; what the algorithm cannot learn from is left out and counted.
        algorithm: one of the family "offline" in ``heed.algorithms``.
        reliability: of raters, as a reward model learned it; each judgment counts as much as its rater's answers tell, and those
            of a rater that is not named as much as the mean. None lets all count alike.

    Raises:
        ConfigError: the algorithm is none of them. ModelError, DataError, ProjectError, TrainingError: see their messages.
        Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.tuning import load_tuned
    from heed.train.preferences import PreferenceTask, coefficients, learn_preferences

    chosen = _offline(algorithm)
    settings, watcher = settings or PreferenceSettings(), watcher or Watcher()
    _refuse_unused(chosen, settings)
    rows = as_judgments(judgments)
    folder = output_folder(out, [model])
    reliability = reliability if reliability and settings.raters == "weighed" else None
    output = Output(folder, "policy", judged_identity(model, chosen, rows, reliability, settings, seed))
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        policy = load_tuned(model, settings, prepare_machine(device), seed)
        left_out: Counter[str] = Counter()
        kept = [row for row in rows if share_of(row.prompt, "test") >= settings.test_fraction]
        held = [row for row in rows if share_of(row.prompt, "test") < settings.test_fraction]
        texts = Texts(policy, left_out)
        said = said_by(kept, chosen, left_out)
        examples = texts.examples(said, weights_of(said, reliability, left_out))
        measured = said_by(held, algorithm_named("dpo"), Counter())
        held_out = texts.examples(measured, [1.0] * len(measured))
        by = coefficients(chosen, settings)
        refuse_nothing(examples, chosen, len(rows), left_out)
        task = PreferenceTask(policy, chosen, texts.texts, examples, held_out, by, settings.tokens_per_microbatch)
        watcher.say(task.check_start())
        tokens = sum(task.lengths) / len(examples)
        watcher.plan(chosen.title, training_plan(policy.model, len(examples), tokens, settings))
        done = learn_preferences(task, settings, seed, output.checkpoints(), watcher)
        metrics = {
            "algorithm": chosen.name,
            "judgments": len(rows),
            "examples": len(examples),
            "held_out": len(held),
            "left_out": dict(left_out),
            "raters_weighed": reliability is not None,
            **moved(policy, task.reference, texts, held_out, settings.tokens_per_microbatch),
            "history": done.history,
        }
        with output.writing():
            policy.save(output.folder)
            tell_trained_on(folder, (one.prompt for one in said))
        return output.finish(metrics, _verdict(chosen, metrics), done.tokens)


def judged_identity(
    model: str | Path,
    algorithm: Algorithm,
    rows: Sequence[Judgment],
    reliability: Mapping[str, float] | None,
    settings: TrainSettings,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides what comes of training a policy on judgments."""
    return {
        "model": model_identity(model),
        "algorithm": algorithm.name,
        "data": content_hash(list(map(keyed, rows))),
        "reliability": reliability and dict(sorted(reliability.items())),
        "settings": settings.model_dump(),
        "seed": seed,
    }


def _refuse_unused(algorithm: Algorithm, settings: PreferenceSettings) -> None:
    """Raise ConfigError where a setting is named that the algorithm's loss has no use for."""
    usual = PreferenceSettings()
    for name in ("beta", "label_smoothing", "margin", "supervised", "desirable", "undesirable"):
        if name not in algorithm.takes and getattr(settings, name) != getattr(usual, name):
            raise ConfigError(
                f"{name} {getattr(settings, name):g} with {algorithm.name}",
                f"its loss has no {name}: it takes {', '.join(algorithm.takes)}.",
                f"Leave preference.{name} as it is by default, or take another algorithm: see 'heed explain'.",
            )


def _offline(name: str) -> Algorithm:
    chosen = algorithm_named(name)
    if chosen.family != "offline":
        raise ConfigError(
            f"algorithm {name} on judgments",
            f"it learns from samples that a reward scores: {chosen.title}.",
            "Give --reward and --prompts, or an algorithm that learns from judgments: see 'heed explain'.",
        )
    return chosen


def said_by(rows: Sequence[Judgment], algorithm: Algorithm, left_out: Counter[str]) -> list[Said]:
    """What judgments say in the form that the algorithm learns from; what is left out is counted by reason."""
    if algorithm.learns_from == "singles":
        return _singles(rows, left_out)
    if algorithm.learns_from == "rankings":
        ranked = [Said(r.prompt, r.texts, r.said, r.rater) for r in rows if r.kind == "ranking"]
        ranked = [one for one in ranked if sum(place != UNRANKED for place in one.places) > 1]
        pairs = compared([row for row in rows if row.kind != "ranking"])
        places = {FIRST: (0, 1), SECOND: (1, 0), TIE: (0, 0)}
        return ranked + [Said(p.prompt, (p.a, p.b), places[p.outcome], p.rater) for p in pairs]
    return _pairs(rows, left_out)


def _pairs(rows: Sequence[Judgment], left_out: Counter[str]) -> list[Said]:
    found = []
    for pair in compared(rows):
        if pair.outcome == TIE:
            left_out[TIES] += 1
            continue
        texts = (pair.a, pair.b) if pair.outcome == FIRST else (pair.b, pair.a)
        found.append(Said(pair.prompt, texts, (0, 1), pair.rater))
    return found


def _singles(rows: Sequence[Judgment], left_out: Counter[str]) -> list[Said]:
    """Texts that were liked or not: by thumbs, by the upper and lower half of ratings, by critiques with and without defects;
    of two texts the better and the worse (Ethayarajh et al. 2024, section 5)."""
    found = []
    for row in rows:
        liked: bool | None = None
        if row.kind == "thumb":
            liked = bool(row.said)
        elif row.kind == "critique":
            liked = not row.said
        elif row.kind == "rating":
            share = rating_share(row)
            if share == 0.5:
                left_out[NEUTRAL] += 1
                continue
            liked = share > 0.5
        if liked is not None:
            found.append(Said(row.prompt, row.texts[:1], (0 if liked else 1,), row.rater))
    others = [row for row in rows if row.kind not in ("thumb", "critique", "rating")]
    for pair in _pairs(others, left_out):
        found += [Said(pair.prompt, (text,), (place,), pair.rater) for place, text in enumerate(pair.texts)]
    return found


def weights_of(said: Sequence[Said], reliability: Mapping[str, float] | None, left_out: Counter[str]) -> list[float]:
    """What each counts, on average 1; those of raters whose answers tell nothing, or the opposite, count nothing."""
    found = rater_weights_of([one.rater for one in said], reliability)
    if reliability is not None:
        left_out[UNTRUSTED] += sum(value == 0 for value in found)
    return found


class Texts:
    """Texts as token ids, each once, and examples that name them by number.

    Attributes:
        texts: as token ids; prompts: the id of the prompt of each.
    """

    def __init__(self, policy: Policy, left_out: Counter[str]) -> None:
        self.policy, self.left_out = policy, left_out
        self.texts: list[Text] = []
        self.prompts: list[str] = []
        self._prompts: dict[PromptContent, tuple[int, ...]] = {}
        self._numbers: dict[tuple[PromptContent, str], int | None] = {}

    def examples(self, said: Sequence[Said], weights: Sequence[float]) -> list[Example]:
        """The examples that fit the model's context and count something; what does not fit is counted."""
        from heed.train.preferences import Example

        found = []
        for one, weight in zip(said, weights, strict=True):
            if weight == 0:
                continue
            numbers = [self.number(one.prompt, text) for text in one.texts]
            known = [number for number in numbers if number is not None]
            if len(known) < len(numbers):
                self.left_out[TOO_LONG] += 1
                continue
            found.append(Example(tuple(known), one.places, weight))
        return found

    def number(self, prompt: PromptContent, text: str) -> int | None:
        from heed.train.preferences import Text

        key = (prompt, text)
        if key not in self._numbers:
            if prompt not in self._prompts:
                self._prompts[prompt] = tuple(self.policy.encode_prompt(prompt))
            made = Text(self._prompts[prompt], tuple(self.policy.encode_completion(prompt, text)))
            fits = len(made.prompt) + len(made.completion) <= self.policy.context
            self._numbers[key] = len(self.texts) if fits else None
            if fits:
                self.texts.append(made)
                self.prompts.append(prompt_id(prompt))
        return self._numbers[key]


def refuse_nothing(
    examples: Sequence[object], algorithm: Algorithm, judgments: int, left_out: Mapping[str, int]
) -> None:
    """Raise DataError where nothing is left to learn from."""
    if examples:
        return
    why = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
    raise DataError(
        f"nothing for {algorithm.name} to learn from in {judgments:,} judgments",
        f"it learns from {algorithm.needs}" + (f"; left out: {why}." if why else "."),
        "Give judgments that say so, or lower test_fraction; 'heed explain' lists algorithms for other kinds.",
    )


def moved(
    policy: Policy, reference: Tensor, texts: Texts, held: Sequence[Example], tokens_per_microbatch: int
) -> dict[str, Any]:
    """How often the policy has moved towards the better of two held-out texts; and how much more probable better and worse ones
    have become, of those trained on too. ``reference`` are log-probabilities of all texts before."""
    from heed.evaluate.metrics import accuracy
    from heed.train.preferences import text_logprobs

    gain = (text_logprobs(policy, texts.texts, tokens_per_microbatch) - reference).tolist()
    differences = [gain[better] - gain[worse] for better, worse in (one.texts for one in held)]
    right = accuracy(differences, [1.0] * len(held), [texts.prompts[one.texts[0]] for one in held])
    sides = {"better": 0, "worse": 1}
    return {
        "accuracy": right.model_dump(mode="json"),
        "gain": {
            name: sum(gain[one.texts[side]] for one in held) / len(held) if held else None
            for name, side in sides.items()
        },
        "held_out_length": sum(len(texts.texts[one.texts[0]].completion) for one in held) / len(held) if held else None,
    }


def _verdict(algorithm: Algorithm, metrics: Mapping[str, Any]) -> str:
    examples = {"pairs": "pairs", "singles": "single texts", "rankings": "rankings"}[algorithm.learns_from]
    text = f"{algorithm.title[0].upper()}{algorithm.title[1:]} on {metrics['examples']:,} {examples}"
    left = [f"{count:,} {reason}" for reason, count in metrics["left_out"].items() if count]
    text += f" (left out: {'; '.join(left)})." if left else "."
    return f"{text} {verdict_of_texts(metrics)}"


def verdict_of_texts(metrics: Mapping[str, Any]) -> str:
    """What ``moved`` found, in words."""
    right, gain = metrics["accuracy"]["clustered"], metrics["gain"]
    if right["estimate"] is None:
        return f"No pair of texts was held out to measure on: {right['reason']}"
    ends = "" if right["low"] is None else f" ({100 * right['low']:.1f} to {100 * right['high']:.1f} %)"
    text = f"It has moved towards the better text of {100 * right['estimate']:.1f} %{ends} of {right['n']:,} held-out pairs."
    better, worse = gain["better"], gain["worse"]
    text += f" Better texts are {_more(better)} probable than before by {abs(better):.1f} nats, worse ones {_more(worse)} by {abs(worse):.1f}."
    surely = right["high"] is not None and right["high"] < 0.5
    if right["low"] is not None and right["low"] <= 0.5 <= right["high"]:
        text += " So few pairs do not tell whether it has moved towards the better or the worse ones: hold out more."
    if better < worse and surely:
        text += " It has moved the wrong way: see whether better and worse are the wrong way round, and lower the learning rate."
    elif better < -_FAR * metrics["held_out_length"]:
        text += " Nothing of what it could write is left: lower the learning rate, or take fewer epochs."
    elif better < 0:
        text += " That better texts have become less probable too is usual for such losses; sample before you use it."
    return f"{text} Whether what it writes is better, 'heed evaluate' tells."


def _more(gain: float) -> str:
    return "more" if gain >= 0 else "less"
