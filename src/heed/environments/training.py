"""heed's own algorithms in a text environment: the environment's prompts, lengths, reward and constraints, heed's trainer.

A trainer of heed samples whole texts by its own decoder, which is what stepping the environment with the policy's draws would
give, at a fraction of the cost; each text is scored by the very object that scores the environment's episodes.
"""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from heed.config import PolicySettings, parse_settings
from heed.environments.task import TextTask
from heed.environments.text import TextEnv
from heed.errors import ConfigError, ModelError
from heed.models.policy import Policy
from heed.train.constraints import LARGEST
from heed.train.learner import value_model_for
from heed.train.online import OnlineTrainer
from heed.train.recipes import RECIPES

_OF_THE_ENVIRONMENT = ("max_new_tokens", "constraints", "missing_end_penalty")


def online_trainer(
    env: gymnasium.Env[Any, Any], policy: Policy, settings: PolicySettings | None = None, seed: int = 0
) -> OnlineTrainer:
    """An online algorithm on ``policy`` in ``env``; its ``run()`` trains the policy in place.

    How long texts are and what constraints there are is the environment's own. Scores are not scaled, and clipped only where
    ``settings`` names ``reward_clip``.

    Args:
        env: ``heed/Text-v0``, as ``gymnasium.make`` gives it.
        policy: is changed in place; as it is now it is also the reference of the KL.
        settings: the algorithm and its settings.

    Raises:
        ConfigError: the environment is another or is wrapped, the settings contradict it, or they ask for what is done to a policy
            when it is loaded. ModelError: the policy's tokens are
            not the environment's. DataError: a prompt is too long for the policy.
    """
    task, settings = _task_of(env), settings or PolicySettings()
    _check_fit(task, policy)
    own = {name: getattr(task.settings, name) for name in _OF_THE_ENVIRONMENT}
    for name in sorted(settings.model_fields_set & set(own)):
        if getattr(settings, name) != own[name]:
            raise ConfigError(
                f"{name} in the settings of a policy that is trained in an environment",
                "it is another than the environment's, whose reward would not be what is trained on.",
                f"Leave it out, and give it to gymnasium.make(..., {name}=...).",
            )
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    settings = parse_settings(PolicySettings, {"reward_clip": LARGEST, **given, **own}, "settings of the policy")
    if settings.algorithm not in RECIPES:
        raise ConfigError(
            f"algorithm {settings.algorithm} in an environment",
            "heed trains there by algorithms that sample and learn from what they have just written.",
            f"Take one of {', '.join(RECIPES)}.",
        )
    plain = PolicySettings()
    for name in ("lora", "dtype", "gradient_checkpointing", "quantization"):
        if getattr(settings, name) != getattr(plain, name):
            raise ConfigError(
                f"{name} in the settings of a policy that is trained in an environment",
                "the policy is trained as it was given, in memory.",
                "Leave it out, or train with heed.train_policy.",
            )
    reference = Policy.of(copy.deepcopy(policy.model), policy.tokenizer, policy.source)
    values = value_model_for(policy, task.scorer, settings, seed)
    return OnlineTrainer(policy, reference, task.scorer, task.prompts, settings, seed, values)


def _task_of(env: gymnasium.Env[Any, Any]) -> TextTask:
    inner = env
    while isinstance(inner, OrderEnforcing | PassiveEnvChecker):
        inner = inner.env
    if not isinstance(inner, TextEnv):
        wrapped = isinstance(inner, gymnasium.Wrapper) and isinstance(inner.unwrapped, TextEnv)
        raise ConfigError(
            f"{type(inner).__name__} as the environment of heed's own algorithms",
            "what this wrapper makes of rewards and observations would be passed over."
            if wrapped
            else "they know heed/Text-v0.",
            "Give env.unwrapped, if its own reward is meant." if wrapped else "Make it with gymnasium.make.",
        )
    return inner.task


def _check_fit(task: TextTask, policy: Policy) -> None:
    same = task.reader.tokenizer.get_vocab() == policy.tokenizer.get_vocab()
    if not same or task.reader.end_ids != policy.end_ids:
        what = f"its texts end with tokens {sorted(policy.end_ids)}" if same else "its tokens are others"
        raise ModelError(
            f"the policy {policy.source} does not fit the environment",
            f"{what} than the environment's{f' {sorted(task.reader.end_ids)}' if same else ''}.",
            "Make the environment with tokenizer=policy.tokenizer.",
        )
    for number, prompt in enumerate(task.prompts):
        policy.check_prompt(prompt.ids, task.settings.max_new_tokens, f"prompt {number + 1}")
