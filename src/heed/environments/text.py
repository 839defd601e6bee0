"""``heed/Text-v0``: an agent writes a text token by token and is told at its end what it is worth."""

from __future__ import annotations

from typing import Any

import gymnasium

from heed.environments.task import Draft, TextTask


class TextEnv(gymnasium.Env[dict[str, Any], Any]):
    """One text at a time. The reward is 0 until the text ends, and then its score with what the constraints add.

    A text is *terminated* by its end token and *truncated* at ``max_new_tokens``; ``info`` then holds the text, its score and
    each constraint apart. An observation has the tokens so far and their number, the prompt's among them.

    Args:
        render_mode: "ansi" (``render`` gives the text so far), "human" (each step prints it), or nothing.
        task: see :class:`heed.environments.task.TextTask`: prompts, reward, tokenizer, max_new_tokens, constraints,
            missing_end_penalty.
    """

    metadata = {"render_modes": ["ansi", "human"], "render_fps": 30}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(self, *, render_mode: str | None = None, **task: Any) -> None:
        self.task = TextTask(**task)
        self.draft = Draft(self.task)
        self.render_mode = render_mode
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a text; ``options={"prompt": K}`` takes prompt number K instead of one by chance.

        Raises:
            DataError: there is no such option, or no such prompt.
        """
        super().reset(seed=seed)
        told = self.draft.begin(self.np_random, options)
        self._print()
        return self.draft.observation(), told

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Write a token.

        Raises:
            DataError: the action is no token, or the text has ended. TrainingError: its score is no finite number.
        """
        self.draft.check(action)
        self.draft.write(action)
        reward, told = 0.0, {}
        if not self.draft.open:
            (outcome,) = self.task.outcomes([self.draft])
            reward, told = outcome.reward, self.draft.told(outcome)
        self._print()
        return self.draft.observation(), reward, self.draft.terminated, self.draft.truncated, told

    def render(self) -> str | None:
        """The prompt and the text so far, a bar between them."""
        return self.draft.shown() if self.render_mode == "ansi" else None

    def _print(self) -> None:
        if self.render_mode == "human":
            print(self.draft.shown())
