"""Many texts at a time: those that end in the same step are scored in one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from numpy.typing import NDArray

from heed.environments.task import Draft, TextTask
from heed.environments.text import TextEnv
from heed.errors import DataError
from heed.texts import shown

Batch = dict[str, Any]


class TextVectorEnv(VectorEnv[Batch, Any, Any]):
    """As gymnasium's ``SyncVectorEnv`` of ``heed/Text-v0``, number for number: an ended text begins anew at the next step.

    Args:
        num_envs: texts at a time (count).
        render_mode, task: see :class:`heed.environments.text.TextEnv`.
    """

    def __init__(self, num_envs: int = 1, *, render_mode: str | None = None, **task: Any) -> None:
        super().__init__()
        self.task = TextTask(**task)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.metadata = {**TextEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = self.task.observation_space, self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.drafts = [Draft(self.task) for _ in range(num_envs)]
        self._randoms = [seeding.np_random()[0] for _ in range(num_envs)]
        self._begun = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """Begin all texts; a whole number as seed gives the texts that seed and those after it.

        Raises:
            DataError: there is no such option or prompt, or not a seed for each text.
        """
        each = [seed + row for row in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if each is not None and len(each) != self.num_envs:
            raise DataError(
                f"{len(each)} seeds", f"there are {self.num_envs} environments.", "Give one seed for each, or a number."
            )
        infos: dict[str, Any] = {}
        for row, draft in enumerate(self.drafts):
            if each is not None and each[row] is not None:
                self._randoms[row], _ = seeding.np_random(each[row])
            infos = self._add_info(infos, draft.begin(self._randoms[row], options), row)
        self._begun = True
        self._print()
        return self._observations(), infos

    def step(
        self, actions: Any
    ) -> tuple[Batch, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Write a token to each text; one that has ended begins anew instead, and its action is left unread.

        Raises:
            DataError: an action is no token, or there is not one for each. TrainingError: a score is no finite number.
        """
        if not self._begun:
            raise DataError("tokens, and no texts to write them to", "none was begun.", "Call reset().")
        if np.shape(actions) != (self.num_envs,):
            raise DataError(
                f"actions {shown(actions)}",
                f"there are {self.num_envs} environments, and each needs one.",
                "Let the agent choose from envs.action_space.",
            )
        for draft, action in zip(self.drafts, actions, strict=True):
            if draft.open:
                draft.check(action)
        begun: list[dict[str, Any] | None] = []
        for draft, random, action in zip(self.drafts, self._randoms, actions, strict=True):
            if draft.open:
                draft.write(action)
                begun.append(None)
            else:
                begun.append(draft.begin(random))
        ended = [draft for draft in self.drafts if not draft.open]
        outcomes = iter(self.task.outcomes(ended))
        rewards = np.zeros(self.num_envs)
        infos: dict[str, Any] = {}
        for row, (draft, new) in enumerate(zip(self.drafts, begun, strict=True)):
            told = new or {}
            if not draft.open:
                outcome = next(outcomes)
                rewards[row], told = outcome.reward, draft.told(outcome)
            infos = self._add_info(infos, told, row)
        terminated = np.array([draft.terminated for draft in self.drafts])
        truncated = np.array([draft.truncated for draft in self.drafts])
        self._print()
        return self._observations(), rewards, terminated, truncated, infos

    def _observations(self) -> Batch:
        room = create_empty_array(self.single_observation_space, self.num_envs, fn=np.zeros)
        assert isinstance(room, dict)
        concatenate(self.single_observation_space, [draft.observation() for draft in self.drafts], room)
        return room

    def render(self) -> tuple[str, ...] | None:
        """The texts so far, see :meth:`heed.environments.text.TextEnv.render`."""
        return tuple(draft.shown() for draft in self.drafts) if self.render_mode == "ansi" else None

    def _print(self) -> None:
        if self.render_mode == "human":
            print("\n".join(draft.shown() for draft in self.drafts))
