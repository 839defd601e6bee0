"""Policy optimisation as a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.algorithms import ALGORITHMS
from heed.config import DQNSettings, PolicySettings, SamplingSettings
from heed.errors import ConfigError, DataError
from heed.feedback.kinds import PromptContent
from heed.stages.data import Demonstrations
from heed.stages.identity import model_identity
from heed.stages.plan import policy_plan
from heed.stages.results import (
    Output,
    StageResult,
    content_hash,
    output_folder,
    plain,
    prepare_machine,
    tell_trained_on,
)
from heed.stages.supervised import encoded_fitting, keyed_demonstrations
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher
from heed.train.text_rewards import TextReward, known_by, of_texts, refuse_pessimism

if TYPE_CHECKING:
    from heed.models.policy import Policy
    from heed.train.online_loop import OnlineLoop, OnlineResult, Prompt
    from heed.train.rollout import ModelScorer, TextScorer

_AUDIT_PROMPTS = 64
# Prompts whose samples by the reference a function's scores are scaled to (count).
_SCALED_ON = 128


@memory_errors()
def train_policy(
    model: str | Path,
    reward: str | Path | Callable[[PromptContent, str], float] | TextReward,
    prompts: Sequence[PromptContent],
    out: str | Path,
    settings: PolicySettings | None = None,
    seed: int = 0,
    truth: Callable[[PromptContent, str], float] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
    pretraining: Demonstrations = (),
    dqn: DQNSettings | None = None,
) -> StageResult:
    """Optimise a policy by an online algorithm against a reward and write it to ``out``; the same call goes on where it was
    stopped.

    Args:
        model: the policy at the start, and the reference that the KL is measured to.
        reward: a reward model's folder, any function of (prompt, completion), or the name of one (package.module:function)
            or of a scorer on another machine (its URL). Like a reward model's scores, a function's are centred and scaled to
            samples of the reference, so that a penalty means the same for both.
        prompts: what is rolled out; where ``truth`` is given some of them are set aside for audits.
        truth: the true utility, where one is known; never trained on, only looked at every ``audit_every`` steps.
        pretraining: demonstrations whose likelihood is part of each update, by ``pretraining_coefficient``.
        dqn: what only deep Q-learning knows, where it is the algorithm.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.adapters import without_adapter
    from heed.models.tuning import load_reference, load_tuned
    from heed.train.online_loop import verdict
    from heed.train.rollout import TextScorer

    settings, watcher = settings or PolicySettings(), watcher or Watcher()
    own = (dqn or DQNSettings()) if settings.algorithm == "dqn" else None
    _refuse_what_does_not_fit(settings, pretraining)
    rewarding = _text_reward(reward, settings)
    folder = output_folder(out, [model, *([rewarding] if isinstance(rewarding, str) else [])])
    identity = _identity(model, rewarding, prompts, truth)
    if settings.pretraining_coefficient:
        identity["pretraining"] = content_hash(keyed_demonstrations(pretraining))
    if own is not None:
        identity["dqn"] = own.model_dump()
    sources, unknown = constraints_identity(settings)
    for what in unknown:
        watcher.say(what)
    identity |= sources
    output = Output(folder, "policy", {**identity, "settings": settings.model_dump(), "seed": seed})
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        where = prepare_machine(device)
        policy = load_tuned(model, settings, where, seed)
        reference = load_reference(model, settings, where) if policy.adapter is None else without_adapter(policy)
        rolled, audited = _encode(policy, prompts, settings, truth is not None)
        scorer = _scorer(rewarding, policy, reference, (rolled, audited), settings, seed)
        lengths = sum(len(p.ids) for p in rolled) / len(rolled)
        watcher.plan("policy optimisation", policy_plan(policy.model, lengths, settings, own))
        audit = None if truth is None or not audited else _Audit(audited, truth, scorer, settings, seed, own)
        trainer = _trainer(policy, reference, scorer, rolled, settings, own, seed, audit, pretraining)
        result = trainer.run(output.checkpoints(), watcher)
        metrics: dict[str, Any] = {"history": result.history, "alarms": result.alarms, "ended": result.ended}
        metrics["reward_scale"] = [scorer.mean, scorer.std] if isinstance(scorer, TextScorer) else [0.0, 1.0]
        metrics["frontier"] = audit.frontier(reference, result) if audit else []
        if audit:
            metrics["reference_true"] = audit.reference_true
        written = trainer.written()
        with output.writing():
            written.save(output.folder)
            tell_trained_on(folder, (prompt.content for prompt in rolled))
        return output.finish(metrics, verdict(result, scorer.unit), result.tokens)


def _identity(
    model: str | Path,
    reward: TextReward | str,
    prompts: Sequence[PromptContent],
    truth: Callable[[PromptContent, str], float] | None,
) -> dict[str, Any]:
    """What a run starts from, as it is known by."""
    identity = {
        "model": model_identity(model),
        "reward": model_identity(reward) if isinstance(reward, str) else reward.name,
        "prompts": content_hash([plain(p) for p in prompts]),
        "audited": None if truth is None else known_by(truth),
    }
    if isinstance(reward, TextReward) and reward.source:
        identity["reward_source"] = reward.source
    return identity


def _trainer(
    policy: Policy,
    reference: Policy,
    scorer: TextScorer | ModelScorer,
    prompts: list[Prompt],
    settings: PolicySettings,
    dqn: DQNSettings | None,
    seed: int,
    audit: _Audit | None,
    pretraining: Demonstrations,
) -> OnlineLoop:
    if dqn is not None:
        from heed.train.q_learning import QTrainer

        return QTrainer(policy, reference, scorer, prompts, settings, dqn, seed, audit)
    from heed.train.learner import value_model_for
    from heed.train.online import OnlineTrainer

    values = value_model_for(policy, scorer, settings, seed)
    others = encoded_fitting(policy, pretraining) if settings.pretraining_coefficient else ()
    return OnlineTrainer(policy, reference, scorer, prompts, settings, seed, values, audit, others)


def _refuse_what_does_not_fit(settings: PolicySettings, pretraining: Demonstrations) -> None:
    """Raise ConfigError where the algorithm does not sample, or other texts are to be learned from and there are none."""
    if ALGORITHMS[settings.algorithm].on_judgments:
        raise ConfigError(
            f"algorithm {settings.algorithm} with a reward",
            "it learns from judgments as they are.",
            "Give judgments to train_preferences or train_ilql, or take an algorithm that samples, such as ppo.",
        )
    if settings.algorithm == "dqn":
        _refuse_what_dqn_cannot(settings)
    if settings.pretraining_coefficient and not pretraining:
        raise ConfigError(
            f"pretraining_coefficient {settings.pretraining_coefficient:g} without texts",
            "their likelihood is to be part of each update, and there are none.",
            "Give demonstrations, on the command line with --pretraining FILE, or set it to 0.",
        )


def _refuse_what_dqn_cannot(settings: PolicySettings) -> None:
    if settings.temperature != 1.0:
        raise ConfigError(
            f"policy.temperature {settings.temperature:g} with dqn",
            "its rollouts have a temperature of their own, in reward units.",
            "Leave policy.temperature at 1, and set dqn.temperature_start.",
        )
    if settings.staleness:
        raise ConfigError(
            f"staleness {settings.staleness} with dqn",
            "its samples go into a buffer and are learned from many times as it is.",
            "Leave policy.staleness empty, or take a3c.",
        )
    if settings.pretraining_coefficient:
        raise ConfigError(
            f"pretraining_coefficient {settings.pretraining_coefficient:g} with dqn",
            "its loss is about what tokens are worth, and the likelihood of texts has no place in it.",
            "Leave it at 0, or take ppo.",
        )


def constraints_identity(settings: PolicySettings) -> tuple[dict[str, Any], list[str]]:
    """What constraints add to the identity of a run beside their settings: the sources of functions, nothing where there are
    none. And sentences on what cannot be known.

    Raises:
        ConfigError: a function cannot be imported.
    """
    from heed.train.constraint_functions import constraint_sources

    hashes, unknown = constraint_sources(settings)
    told = [
        f"{what} cannot be told: a run that is done counts as the same; --fresh, or another --out, makes it anew"
        for what in unknown
    ]
    return ({"constraint_sources": hashes} if hashes else {}), told


def _text_reward(
    reward: str | Path | Callable[[PromptContent, str], float] | TextReward, settings: PolicySettings
) -> TextReward | str:
    """The reward as one of texts, or the folder of a reward model.

    Raises:
        ConfigError: a function cannot be imported, or what has no members is to be doubted by them.
    """
    found = of_texts(reward)
    if found is None:
        return str(reward)
    refuse_pessimism(found, settings.pessimism)
    return found


def _scorer(
    reward: TextReward | str,
    policy: Policy,
    reference: Policy,
    prompts: tuple[list[Prompt], list[Prompt]],
    settings: PolicySettings,
    seed: int,
) -> TextScorer | ModelScorer:
    """The reward as a scorer; ``prompts`` are those to roll out and those set aside for audits."""
    from heed.models.rewards import load_reward
    from heed.stages.pairwise_reward import against_reference
    from heed.train.rollout import ModelScorer, TextScorer

    if isinstance(reward, str):
        fitted = load_reward(reward, str(policy.device))
        against_reference(fitted, reference, [*prompts[0], *prompts[1]], settings, seed)
        return ModelScorer(fitted, policy, settings.pessimism)
    scorer = TextScorer(reward)
    if reward.scaled:
        scorer.standardise(reference, prompts[0][:_SCALED_ON], settings, seed)
    return scorer


def _encode(
    policy: Policy, prompts: Sequence[PromptContent], settings: PolicySettings, audited: bool
) -> tuple[list[Prompt], list[Prompt]]:
    from heed.train.online_loop import Prompt

    if not prompts:
        raise DataError("no prompt to roll out", "the list is empty.", "Give some with --prompts.")
    encoded = [Prompt(content, policy.encode_prompt(content)) for content in prompts]
    for number, prompt in enumerate(encoded):
        policy.check_prompt(prompt.ids, settings.max_new_tokens, f"prompt {number + 1}")
    aside = min(_AUDIT_PROMPTS, len(encoded) // 4) if audited else 0
    return encoded[aside:], encoded[:aside]


class _Audit:
    """Held-out truth and proxy of a policy, on prompts that are never rolled out."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        truth: Callable[..., float],
        scorer: Any,
        settings: PolicySettings,
        seed: int,
        dqn: DQNSettings | None,
    ) -> None:
        self.prompts, self.truth, self.scorer, self.seed = prompts, truth, scorer, seed
        self.sampling = SamplingSettings(
            samples_per_prompt=1, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature
        )
        # Deep Q-learning ends with a sharper policy than it trains; that one is looked at.
        self.warmth = settings.temperature if dqn is None else dqn.last_temperature / dqn.temperature_start

    def scores(self, policy: Policy, warmth: float) -> tuple[list[float], list[float]]:
        """True utilities of single completions, and their proxy scores; none where a score costs somebody time."""
        from heed.models.decode import sample

        sampling = self.sampling.model_copy(update={"temperature": warmth})
        drawn = sample(policy, [p.ids for p in self.prompts], sampling, self.seed + 1)
        contents = [p.content for p in self.prompts]
        true = [float(self.truth(content, text)) for content, text in zip(contents, drawn.texts, strict=True)]
        if getattr(self.scorer, "asks", False):
            return true, []
        return true, self.scorer(contents, [p.ids for p in self.prompts], drawn).tolist()

    def __call__(self, policy: Policy) -> dict[str, float]:
        true, proxy = self.scores(policy, self.warmth)
        n, mean = len(true), sum(true) / len(true)
        spread = (sum((value - mean) ** 2 for value in true) / max(1, n - 1) / n) ** 0.5
        return {"true": mean, "true_se": spread, **({"proxy": sum(proxy) / n} if proxy else {})}

    def frontier(self, reference: Policy, result: OnlineResult) -> list[dict[str, Any]]:
        """Proxy and true gain at each audit by KL, in standard deviations of the reference's completions; empty where one of
        them says nothing."""
        from heed.evaluate.compare import reward_against_kl

        true, proxy = self.scores(reference, self.sampling.temperature)
        self.reference_true = sum(true) / len(true)
        looked = [row for row in result.history if "true" in row]
        if len(set(true)) < 2 or len(set(proxy)) < 2:
            return []
        points = reward_against_kl(
            [int(row["step"]) for row in looked],
            [row["kl"] for row in looked],
            [row["proxy"] for row in looked],
            proxy,
            [row["true"] for row in looked],
            true,
        )
        return [point.model_dump(mode="json") for point in points]
