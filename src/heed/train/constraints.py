"""Constraints: rules and scorers beside the reward model, weighed, added to the reward, and stated apart from it.

What a constraint adds is never part of a score: the reward model's mean, the constraints' and each constraint's own stand
side by side in every figure, so that a policy which merely learns to keep the rules does not look like a better one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from heed.config import PolicySettings
from heed.constraint_settings import LENGTH_TARGET, MISSING_END, ConstraintSettings
from heed.errors import ConfigError, DataError
from heed.feedback.kinds import PromptContent
from heed.models.decode import Samples
from heed.texts import shown
from heed.train.constraint_functions import constraint_function
from heed.train.personal_data import KINDS, personal_data
from heed.train.remote_scorer import RemoteScorer, joined

Measure = Callable[[Sequence[PromptContent], Samples], Sequence[float]]

LARGEST = 1e6
"""What a constraint may say of one completion, on either side of 0 (its own units)."""

_PATTERN_SECONDS = 5.0
"""For one completion. A pattern that backtracks exponentially would take longer than anybody waits."""

# Scripts that do not part words by spaces count by the sign; an apostrophe or a hyphen within a word parts none.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+(?:['’-]\w+)*"
)
_ENDS = ".!?…。！？‽"
_CLOSING = "\"'”’»›)]}）】」』*_ \t\r\n"
"""What may stand behind the mark that ends a sentence."""


@dataclass(frozen=True)
class Constraint:
    """One constraint.

    Attributes:
        name: what figures call it.
        weight: what one unit counts (reward units).
        measure: of prompts [B] and their completions: of a rule how far each breaks it, at least 0; of a scorer its reward.
        is_rule: whether it is one. What a rule counts is taken off the reward, what a scorer gives is added to it.
    """

    name: str
    weight: float
    measure: Measure
    is_rule: bool = True


@dataclass(frozen=True)
class Stated:
    """What constraints make of completions, by name.

    Attributes:
        added: [B] each, what is added to the reward (reward units).
        broken: [B] each, 1 where a rule is broken; of scorers, which have no such line, nothing.
    """

    added: dict[str, Tensor]
    broken: dict[str, Tensor]

    def total(self, like: Tensor) -> Tensor:
        """The sum over all constraints [B], of the device and type of ``like`` [B]; 0 where there are none."""
        total = torch.zeros_like(like)
        for part in self.added.values():
            total = total + part.to(like)
        return total

    def figures(self) -> dict[str, float]:
        """Means over the completions: ``constraint:NAME`` of what is added, ``broken:NAME`` as a share (0 to 1)."""
        added = {f"constraint:{name}": float(part.mean()) for name, part in self.added.items()}
        return added | {f"broken:{name}": float(part.mean()) for name, part in self.broken.items()}


class Constraints:
    """All constraints of a policy.

    Args:
        settings: the policy's.

    Raises:
        ConfigError: a function cannot be imported or called, or the variable of a scorer's token is not set.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self.all: list[Constraint] = []
        if settings.missing_end_penalty:
            self.all.append(Constraint(MISSING_END, settings.missing_end_penalty, _missing_end))
        if settings.length_target and settings.length_penalty:
            over = partial(_outside, _tokens, 0, settings.length_target)
            self.all.append(Constraint(LENGTH_TARGET, settings.length_penalty, over))
        self.all += [constraint_of(entry) for entry in settings.constraints]

    def __call__(self, prompts: Sequence[PromptContent], samples: Samples) -> Stated:
        """State what each adds to the rewards of ``samples`` [B].

        Raises:
            DataError, TrainingError: a function or a scorer fails, or gives what is no number or one beyond ``LARGEST``; or a
                pattern takes too long. ConfigError: a function ends the program.
        """
        added, broken = {}, {}
        for one in self.all:
            measured = torch.tensor(_bounded(one.name, one.measure(prompts, samples), samples), dtype=torch.float64)
            added[one.name] = ((-one.weight if one.is_rule else one.weight) * measured).float()
            if one.is_rule:
                broken[one.name] = (measured > 0).float()
        return Stated(added, broken)


def _bounded(name: str, measured: Sequence[float], samples: Samples) -> list[float]:
    """The numbers of a constraint [B], none of which drowns the reward.

    Raises:
        DataError: one of them does.
    """
    values = list(measured)
    for value, text in zip(values, samples.texts, strict=True):
        if abs(value) > LARGEST:
            raise DataError(
                f"constraint '{name}' gave {value:g} for the completion {text[:60]!r}",
                f"beside a number beyond {LARGEST:,.0f} nothing is left of the reward, and training breaks down.",
                "Return smaller numbers, and set how much one unit counts by the constraint's weight.",
            )
    return values


def constraint_of(settings: ConstraintSettings) -> Constraint:
    """The constraint of an entry of ``policy.constraints``.

    Raises:
        ConfigError: its function cannot be imported, or the variable of its token is not set.
    """
    if settings.kind == "http":
        return Constraint(settings.name, settings.weight, _remote(settings), is_rule=False)
    return Constraint(settings.name, settings.weight, _rule(settings))


def _rule(settings: ConstraintSettings) -> Measure:
    if settings.kind in ("words", "tokens"):
        count = _words if settings.kind == "words" else _tokens
        return partial(_outside, count, settings.least or 0, settings.most)
    if settings.kind == "personal_data":
        kinds = tuple(settings.find or KINDS)
        return _of_texts(lambda text: float(len(personal_data(text, kinds))))
    if settings.kind == "format":
        return _of_texts(_breaks_format(settings))
    return _function(settings.name, settings.function or "")


def _of_texts(measure: Callable[[str], float]) -> Measure:
    return lambda prompts, samples: [measure(text) for text in samples.texts]


# Rules


def word_count(text: str) -> int:
    """Words of ``text``, and single signs of scripts that do not part words (count)."""
    return sum(1 for _ in _WORD.finditer(text))


def _words(samples: Samples) -> list[int]:
    return [word_count(text) for text in samples.texts]


def _tokens(samples: Samples) -> list[int]:
    return [len(tokens) for tokens in samples.tokens]


def _outside(
    count: Callable[[Samples], list[int]],
    least: int,
    most: int | None,
    prompts: Sequence[PromptContent],
    samples: Samples,
) -> list[float]:
    """How many units each completion has too few or too many [B]."""
    return [float(max(least - n, 0 if most is None else n - most, 0)) for n in count(samples)]


def _missing_end(prompts: Sequence[PromptContent], samples: Samples) -> list[float]:
    return [0.0 if done else 1.0 for done in samples.finished]


def _breaks_format(settings: ConstraintSettings) -> Callable[[str], float]:
    if settings.format == "json":
        return lambda text: 0.0 if _is_json(text) else 1.0
    if settings.format == "punctuation":
        return lambda text: 0.0 if text.rstrip(_CLOSING).endswith(tuple(_ENDS)) else 1.0
    return _lacks(settings.name, settings.pattern or "")


def _lacks(name: str, pattern: str) -> Callable[[str], float]:
    """Whether a text lacks what the pattern finds. Python's own ``re`` knows no time limit; ``regex``, which transformers
    brings along and which reads the same patterns, does."""
    import regex

    compiled = regex.compile(pattern)

    def lacks(text: str) -> float:
        try:
            return 0.0 if compiled.search(text, timeout=_PATTERN_SECONDS) else 1.0
        except TimeoutError:
            raise DataError(
                f"constraint '{name}': the pattern {shown(pattern)} takes too long for the completion {text[:60]!r}",
                f"it was searched for {_PATTERN_SECONDS:g} seconds. A repetition within a repetition, as in (a+)+, can be "
                "tried in more ways than there is time for.",
                "Write the pattern so that a text can match it in one way only: (a+)+ is a+.",
            ) from None

    return lacks


def _is_json(text: str) -> bool:
    """Whether ``text`` is JSON by RFC 8259: NaN and Infinity, which Python's reader lets through, are not."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _function(name: str, function: str) -> Measure:
    broken = constraint_function(name, function)
    return lambda prompts, samples: [broken(p, text) for p, text in zip(prompts, samples.texts, strict=True)]


# Scorers


def _remote(settings: ConstraintSettings) -> Measure:
    token = ""
    if settings.token_variable is not None:
        token = os.environ.get(settings.token_variable, "")
        if not token:
            raise ConfigError(
                f"constraint '{settings.name}'",
                f"the variable {settings.token_variable}, which holds the scorer's token, is not set.",
                f"Set it: export {settings.token_variable}=...",
            )
    scorer = RemoteScorer(settings.name, settings.url or "", settings.seconds or 10.0, settings.attempts or 5, token)
    whole = settings.reads != "completion"

    def measure(prompts: Sequence[PromptContent], samples: Samples) -> list[float]:
        if not whole:
            return scorer(samples.texts)
        return scorer([joined(prompt, text) for prompt, text in zip(prompts, samples.texts, strict=True)])

    return measure


# What people are told


def constraints_told(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    """A sentence on what the constraints added to the reward at the first and at the last step; "" where there are none.

    Args:
        first, last: figures of a step, as :meth:`Stated.figures` names them, with their sum as ``constraint``.
    """
    parts = []
    for key in last:
        head, _, name = key.partition(":")
        if head != "constraint" or not name:
            continue
        told, share = f"{name} {first[key]:+.2f} to {last[key]:+.2f}", f"broken:{name}"
        if share in last:
            told += f" (broken by {100 * first[share]:.0f} to {100 * last[share]:.0f} %)"
        parts.append(told)
    if not parts:
        return ""
    return f"Beside it, constraints add {first['constraint']:+.2f} to {last['constraint']:+.2f}: {'; '.join(parts)}."
