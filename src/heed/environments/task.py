"""What there is to write, and what it is worth: the part that an environment, a vector of them and heed's own trainer share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from pydantic import TypeAdapter, ValidationError

from heed.config import PolicySettings, parse_settings
from heed.constraint_settings import ConstraintSettings
from heed.errors import ConfigError, DataError, ModelError, TrainingError
from heed.feedback.kinds import PromptContent
from heed.models.decode import Samples
from heed.models.pairwise import PairwiseReward
from heed.models.policy import Policy
from heed.models.rewards import load_reward
from heed.raters.utilities import CheckedUtility
from heed.texts import cut, shown, visible
from heed.train.constraints import Constraints
from heed.train.online_loop import Prompt
from heed.train.rollout import ModelScorer, Scorer, TextScorer
from heed.train.text_rewards import TextReward, reward_named

Reward = str | Path | ModelScorer | TextScorer | TextReward | Callable[[PromptContent, str], float]

_CONTENTS: TypeAdapter[PromptContent] = TypeAdapter(PromptContent)
_ENDLESS = 1 << 30  # what a tokenizer says that knows no longest text


@dataclass(frozen=True)
class Outcome:
    """What a text came to.

    Attributes:
        text: without its end.
        score: by the reward alone.
        figures: what each constraint adds, ``constraint:NAME``, and whether a rule is broken, ``broken:NAME`` (0 or 1).
        constraints: the sum of what they add.
    """

    text: str
    score: float
    figures: dict[str, float]
    constraints: float

    @property
    def reward(self) -> float:
        return self.score + self.constraints


class TextTask:
    """Prompts to continue and the reward of a continuation.

    Args:
        prompts: texts, or conversations.
        reward: folder of a reward model; name of a function, "package.module:function"; URL of a scorer on another machine; a
            reward of texts or a scorer of heed; or any function of (prompt, completion).
        tokenizer: a tokenizer, or the folder or hub id of a model whose tokenizer it is and whose context limits the texts.
        max_new_tokens: longest completion (tokens).
        constraints: as ``policy.constraints`` of ``heed.yaml``.
        missing_end_penalty: taken off where a text has no end (reward units).

    Raises:
        ConfigError, DataError, ModelError: one of these cannot be used.
    """

    def __init__(
        self,
        prompts: Sequence[PromptContent],
        reward: Reward,
        tokenizer: Any,
        max_new_tokens: int = 16,
        constraints: Sequence[ConstraintSettings | Mapping[str, Any]] = (),
        missing_end_penalty: float = 1.0,
    ) -> None:
        self.reader = _reader(tokenizer)
        self.settings = _settings(max_new_tokens, constraints, missing_end_penalty)
        self.constraints = Constraints(self.settings)
        self.scorer = _scorer(reward, self.reader)
        if isinstance(self.scorer, ModelScorer) and self.scorer.network is not None:
            self.reader.context = min(self.reader.context, self.scorer.network.reader.context)
        self.prompts = self._encoded(prompts)
        if isinstance(self.scorer, ModelScorer) and isinstance(self.scorer.model, PairwiseReward):
            # Now, and not when the first text has been written.
            self.scorer.model.check_prompts([prompt.content for prompt in self.prompts])
        self.width = max(len(prompt.ids) for prompt in self.prompts) + max_new_tokens
        self.vocabulary = max(self.reader.tokenizer.get_vocab().values()) + 1
        self.action_space = spaces.Discrete(self.vocabulary)
        self.observation_space = spaces.Dict(
            {
                "tokens": spaces.Box(0, self.vocabulary - 1, (self.width,), np.int64),
                "length": spaces.Discrete(self.width + 1),
                "prompt_length": spaces.Discrete(self.width + 1),
            }
        )

    def _encoded(self, prompts: Sequence[PromptContent]) -> list[Prompt]:
        if isinstance(prompts, str) or not len(prompts):
            raise DataError(
                "no list of prompts" if isinstance(prompts, str) else "no prompt to write for",
                f"'prompts' is {shown(prompts)}.",
                'Give a list with at least one prompt, like ["Once upon a time"].',
            )
        encoded = []
        for number, given in enumerate(prompts):
            try:
                content = _CONTENTS.validate_python(given)
            except ValidationError as error:
                raise DataError(
                    f"prompt {number + 1} is {shown(given)}",
                    f"{cut(str(error.errors()[0]['msg']))}.",
                    "A prompt is a text, or a conversation as a list of messages with 'role' and 'content'.",
                ) from None
            ids = self.reader.encode_prompt(content)
            self.reader.check_prompt(ids, self.settings.max_new_tokens, f"prompt {number + 1}")
            encoded.append(Prompt(content, ids))
        return encoded

    def outcomes(self, drafts: Sequence[Draft]) -> list[Outcome]:
        """What finished texts came to, all scored together.

        Raises:
            DataError, TrainingError: the reward or a constraint fails, or a score is no finite number.
        """
        if not drafts:
            return []
        own = [self.prompts[draft.row] for draft in drafts]
        texts = [self.reader.decode(prompt.ids, draft.written) for prompt, draft in zip(own, drafts, strict=True)]
        # With what probability an agent chose its tokens is the agent's to know.
        unknown = [[math.nan] * len(draft.written) for draft in drafts]
        samples = Samples([draft.written for draft in drafts], [draft.ended for draft in drafts], unknown, None, texts)
        contents = [prompt.content for prompt in own]
        scores = self.scorer(contents, [prompt.ids for prompt in own], samples).double().cpu()
        stated = self.constraints(contents, samples)
        totals = stated.total(scores).tolist()
        found = []
        for row, (text, score) in enumerate(zip(texts, scores.tolist(), strict=True)):
            if not math.isfinite(score):
                raise TrainingError(
                    f"the reward of a text is {score}",
                    f"an agent cannot learn from it; the text is {shown(text)}.",
                    "See what the reward makes of such texts.",
                )
            figures = {f"constraint:{name}": float(part[row]) + 0.0 for name, part in stated.added.items()}
            figures |= {f"broken:{name}": float(part[row]) for name, part in stated.broken.items()}
            found.append(Outcome(text, score, figures, totals[row]))
        return found


class Draft:
    """One text that is being written.

    Attributes:
        row: number of its prompt.
        written: token ids behind the prompt, the end token too where there is one.
        ended: whether the end token has been written.
        open: whether it goes on: a text was begun, has no end and is not at the limit.
    """

    def __init__(self, task: TextTask) -> None:
        self.task, self.row = task, 0
        self.written: list[int] = []
        self.ended = self.open = False

    def begin(self, random: np.random.Generator, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Start anew, with a prompt drawn by chance or with number ``options["prompt"]``; what ``reset`` tells.

        Raises:
            DataError: there is no such option, or no such prompt.
        """
        count = len(self.task.prompts)
        drawn = int(random.integers(count))
        unknown = sorted(set(options or {}) - {"prompt"})
        if unknown:
            raise DataError(f"option {shown(unknown[0])}", "reset knows 'prompt' alone.", "Leave it out.")
        row = (options or {}).get("prompt", drawn)
        if isinstance(row, bool) or not isinstance(row, int | np.integer) or not 0 <= row < count:
            raise DataError(f"no prompt {shown(row)}", f"there are {count}.", f"Give a number from 0 to {count - 1}.")
        self.row, self.written, self.ended, self.open = int(row), [], False, True
        return {"prompt": self.task.reader.render(self.task.prompts[self.row].content), "prompt_row": self.row}

    def check(self, action: Any) -> None:
        """Raise DataError where ``action`` is no token, or no text is being written."""
        if not self.open:
            raise DataError("a token, and no text to write it to", "none was begun, or it has ended.", "Call reset().")
        if not self.task.action_space.contains(action):
            raise DataError(
                f"action {shown(action)}",
                f"an action is the id of a token, a whole number from 0 to {self.task.vocabulary - 1}.",
                "Let the agent choose from env.action_space.",
            )

    def write(self, action: Any) -> None:
        """Append a token that has been checked."""
        self.written.append(int(action))
        self.ended = self.written[-1] in self.task.reader.end_ids
        self.open = not self.ended and len(self.written) < self.task.settings.max_new_tokens

    @property
    def terminated(self) -> bool:
        return self.ended

    @property
    def truncated(self) -> bool:
        return not self.ended and not self.open

    def observation(self) -> dict[str, Any]:
        """The tokens so far, 0 behind their end, and how many there are: lengths are data, no token stands for nothing."""
        ids = [*self.task.prompts[self.row].ids, *self.written]
        tokens = np.zeros(self.task.width, np.int64)
        tokens[: len(ids)] = ids
        return {
            "tokens": tokens,
            "length": np.int64(len(ids)),
            "prompt_length": np.int64(len(ids) - len(self.written)),
        }

    def told(self, outcome: Outcome) -> dict[str, Any]:
        """What the last step of a text tells of it."""
        return {
            "text": outcome.text,
            "score": outcome.score,
            "constraints": outcome.constraints,
            "ended": self.ended,
            **outcome.figures,
        }

    def shown(self) -> str:
        """Prompt and text for a person, harmless for a terminal."""
        prompt = self.task.prompts[self.row]
        text = self.task.reader.decode(prompt.ids, self.written)
        mark = " [end]" if self.ended else "" if self.open else " [cut]"
        return visible(f"{self.task.reader.render(prompt.content)}|{text}{mark}")


def _settings(
    max_new_tokens: int, constraints: Sequence[ConstraintSettings | Mapping[str, Any]], missing_end_penalty: float
) -> PolicySettings:
    entries = [one.model_dump() if isinstance(one, ConstraintSettings) else dict(one) for one in constraints]
    values = {"max_new_tokens": max_new_tokens, "constraints": entries, "missing_end_penalty": missing_end_penalty}
    return parse_settings(PolicySettings, values, "heed/Text-v0")


def _reader(tokenizer: Any) -> Policy:
    """The side of a policy that reads and writes texts."""
    if isinstance(tokenizer, str | Path):
        reader = Policy.without_weights(tokenizer)
    elif hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "eos_token_id"):
        ends = frozenset({tokenizer.eos_token_id} - {None})
        context = min(int(tokenizer.model_max_length), _ENDLESS)
        reader = Policy(None, tokenizer, None, ends, context, "the tokenizer")  # type: ignore[arg-type]
    else:
        raise ModelError(
            f"{shown(tokenizer)} as the tokenizer",
            "it is neither a tokenizer of transformers nor the folder or hub id of one.",
            "Give for example AutoTokenizer.from_pretrained(FOLDER), or the folder itself.",
        )
    if not reader.end_ids:
        raise ModelError(
            f"{reader.source} has no end-of-text token",
            "a text could never end.",
            "Set tokenizer.eos_token (for example with tokenizer.add_special_tokens).",
        )
    return reader


def _scorer(reward: Reward, reader: Policy) -> Scorer:
    if isinstance(reward, ModelScorer | TextScorer):
        return reward
    if isinstance(reward, TextReward):
        return TextScorer(reward)
    if isinstance(reward, str | Path):
        named = reward_named(str(reward))
        return ModelScorer(load_reward(reward), reader) if named is None else TextScorer(named)
    if callable(reward):
        name = getattr(reward, "__qualname__", type(reward).__qualname__)
        return TextScorer(TextReward.of(CheckedUtility(name, reward)))
    raise ConfigError(
        f"{shown(reward)} as the reward",
        "it is neither the folder of a reward model, nor the name of a reward, nor a function.",
        "Give a folder, 'package.module:function', the URL of a scorer, or a function of (prompt, completion).",
    )
