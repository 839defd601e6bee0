"""Deep Q-learning over tokens: its targets through a model, the chain's values by Bellman's equation, exploration, resumption."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from heed.config import DQNSettings, PolicySettings, SamplingSettings
from heed.errors import TrainingError
from heed.losses.q_learning import n_step_targets
from heed.models.decode import Samples, sample
from heed.models.policy import Policy
from heed.teaching.tables import World, q_learning
from heed.train.checkpoint import Checkpoints
from heed.train.online_loop import Prompt
from heed.train.progress import Stopped, Watcher
from heed.train.q_learning import QTrainer
from heed.train.replay import Episode
from stopping import StopAt
from tiny_models import ragged, tiny_policy
from tiny_training import letter_share
from tiny_walks import MOVES, chain_q, chain_reward

LETTERS = "abcdef"
OWN = {"buffer": 40, "updates": 3, "completions_per_update": 8, "n_step": 2}
FREE = {"anchored": False}


def trainer_of(
    name: str = "llama", seed: int = 0, scorer: Any = letter_share, own: Any = None, **changes: Any
) -> QTrainer:
    policies = [tiny_policy(name, 1, LETTERS, initializer_range=0.08) for _ in range(2)]
    small = {"steps": 6, "prompts_per_step": 4, "samples_per_prompt": 2, "max_new_tokens": 6, "learning_rate": 3e-3}
    settings = PolicySettings(**{"algorithm": "dqn", "missing_end_penalty": 0.0, "kl_budget": 1e6, **small, **changes})
    prompts = [Prompt("".join(LETTERS[i] for i in ids), ids) for ids in ragged([3, 1, 5, 2, 4, 2, 3], len(LETTERS) + 1)]
    return QTrainer(*policies, scorer, prompts, settings, DQNSettings(**{**OWN, **(own or {})}), seed)


def stirred(trainer: QTrainer) -> QTrainer:
    """Network and target network away from each other and from the reference."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for network in (trainer.network, trainer.target):
            for module in network.networks.values():
                for parameter in module.parameters():
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return trainer


def some_episodes(count: int = 7) -> list[Episode]:
    prompts, written = ragged([2, 1, 4] * 3, 7, 1), ragged([3, 1, 5, 2] * 3, 7, 2)
    return [Episode(tuple(prompts[n]), tuple(written[n]), 0.3 * n - 1) for n in range(count)]


def by_transformers(policy: Policy, episode: Episode) -> tuple[Tensor, Tensor]:
    """Hidden states [T, D] and log-probabilities [T, V] of each state of a completion."""
    out = policy.model(input_ids=torch.tensor([episode.prompt + episode.tokens]), output_hidden_states=True)
    places = slice(len(episode.prompt) - 1, len(episode.prompt) - 1 + len(episode.tokens))
    return out.hidden_states[-1][0][places], out.logits[0][places].log_softmax(-1)


def q_by_transformers(network: Any, episode: Episode) -> Tensor:
    """[T, V]: V(s) + temperature log pi(a | s) of each state of a completion."""
    hidden, logprobs = by_transformers(network.policy, episode)
    return network.head(hidden) + network.temperature * logprobs


def loss_on_paper(trainer: QTrainer, episodes: list[Episode]) -> float:
    own, gamma, total = trainer.own, trainer.settings.gamma, 0.0
    for episode in episodes:
        mine, theirs = (q_by_transformers(one, episode).detach() for one in (trainer.network, trainer.target))
        length = len(episode.tokens)
        for t, token in enumerate(episode.tokens):
            behind = t + own.n_step
            if behind >= length:
                target = gamma ** (length - 1 - t) * episode.reward
            else:
                chooser = mine if own.double else theirs
                target = gamma**own.n_step * float(theirs[behind, int(chooser[behind].argmax())])
            error = abs(float(mine[t, token]) - target)
            total += 0.5 * error**2 if error < own.huber else own.huber * (error - own.huber / 2)
    return total / sum(len(e.tokens) for e in episodes)


@pytest.mark.parametrize("name", ["gpt2", "llama-tied"])
@pytest.mark.parametrize("own", [{"n_step": 1, "huber": 0.3}, {"n_step": 2, "double": False}, {"n_step": 9}])
def test_the_loss_is_that_of_the_papers(name: str, own: dict[str, Any]) -> None:
    trainer = stirred(trainer_of(name, own={"temperature_start": 0.5, **FREE, **own}, gamma=0.9))
    expected = loss_on_paper(trainer, some_episodes())
    assert trainer.learn_from(some_episodes())["q_loss"] == pytest.approx(expected, rel=1e-4)


def soft_loss_on_paper(trainer: QTrainer, episodes: list[Episode]) -> float:
    """Half the squares of V + temperature log(pi / reference) less its target, of all tokens, by the definition of each."""
    own, gamma, warmth, total = trainer.own, trainer.settings.gamma, trainer.own.temperature_start, 0.0
    for episode in episodes:
        length = len(episode.tokens)
        states = [by_transformers(one.policy, episode) for one in (trainer.network, trainer.target)]
        expected = by_transformers(trainer.reference, episode)[1]
        values = [n.head(h)[:, 0] for n, (h, _) in zip((trainer.network, trainer.target), states, strict=True)]
        mine, theirs = (
            warmth * torch.stack([(logprobs - expected)[t, token] for t, token in enumerate(episode.tokens)])
            for _, logprobs in states
        )
        for t in range(length):
            behind = t + own.n_step
            last = gamma ** (length - 1 - t) * episode.reward
            target = last if behind >= length else gamma**own.n_step * float(values[1][behind])
            target -= sum(gamma ** (k - t) * float(theirs[k]) for k in range(t + 1, min(behind, length)))
            total += 0.5 * float(values[0][t] + mine[t] - target) ** 2
    return total / sum(len(e.tokens) for e in episodes)


@pytest.mark.parametrize("name", ["gpt2", "llama-tied"])
@pytest.mark.parametrize("n_step", [1, 2, 3, 9])
def test_the_loss_of_anchored_values_is_that_of_soft_q_learning(name: str, n_step: int) -> None:
    trainer = stirred(trainer_of(name, own={"temperature_start": 0.5, "n_step": n_step, "huber": 1e6}, gamma=0.9))
    with torch.no_grad():
        expected = soft_loss_on_paper(trainer, some_episodes())
    assert trainer.learn_from(some_episodes())["q_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n_step", [1, 2])
def test_the_optimum_under_a_kl_penalty_is_a_fixed_point_of_anchored_values(n_step: int) -> None:
    """Where pi is in proportion to reference exp(Q / temperature), path consistency makes every target equal its Q."""
    warmth, longest = 0.4, 3
    reference = torch.randn(3, 3, generator=torch.Generator().manual_seed(5)).log_softmax(-1)

    def reward(text: tuple[int, ...]) -> float:
        return math.sin(7.0 * sum((n + 1) * token for n, token in enumerate(text)))

    def value(text: tuple[int, ...]) -> float:
        if len(text) == longest:
            return reward(text)
        worth = torch.tensor([value((*text, token)) for token in range(3)])
        return float(warmth * (reference[len(text)] + worth / warmth).logsumexp(0))

    for text in itertools.product(range(3), repeat=longest):
        q = torch.tensor([[value(text[: n + 1]) for n in range(longest)]])
        values = torch.tensor([[value(text[:n]) for n in range(longest)]])
        rewards = torch.tensor([[0.0] * (longest - 1) + [reward(text)]])
        found = n_step_targets(rewards, values, torch.ones_like(q), 1.0, n_step, costs=q - values)
        torch.testing.assert_close(found, q, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_any_split_and_order() -> None:
    found = []
    for tokens, order in ((10_000, 1), (16, 1), (30, -1)):
        trainer = stirred(trainer_of(tokens_per_microbatch=tokens, max_grad_norm=1e9))
        kept: list[Tensor] = []
        trainer.optimizer.step = lambda t=trainer, k=kept: k.append(  # type: ignore[method-assign]
            torch.cat([p.grad.flatten().clone() for p in t.parameters.values()])
        )
        trainer.learn_from(some_episodes()[::order])
        found.append(kept[0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-6 + 1e-5 * float(found[0].abs().max()), rtol=1e-3)


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_the_self_check_passes_and_leaves_the_trainer_as_it_was(name: str) -> None:
    trainer, other = trainer_of(name), trainer_of(name)
    assert "resumed equals uninterrupted" in trainer.check(at_start=True)
    assert len(trainer.buffer) == 0
    assert str(trainer.step(0)) == str(other.step(0))
    trainer.check(at_start=False)
    assert str(trainer.step(1)) == str(other.step(1))


def test_the_self_check_finds_another_reference_and_a_state_that_loses_something() -> None:
    trainer = trainer_of()
    with torch.no_grad():
        next(iter(trainer.reference.parameters())).mul_(1.5)
    with pytest.raises(TrainingError, match="does not start where it should"):
        trainer.run()
    lossy = trainer_of()
    sound = lossy.load_state

    def forgets_the_target(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        sound({k: v * 1.5 if k.startswith("target/") else v for k, v in tensors.items()}, numbers)

    lossy.load_state = forgets_the_target  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="resumed run would differ"):
        lossy.check(at_start=False)


def test_learning_rate_zero_changes_nothing() -> None:
    trainer = trainer_of(learning_rate=0.0, value_learning_rate=0.0, own={"temperature_end": 0.1})
    before = [p.detach().clone() for p in trainer.policy.parameters()]
    for row in trainer.run().history:
        assert row["kl"] == pytest.approx(0, abs=1e-4)
    assert all(torch.equal(p, old) for p, old in zip(trainer.policy.parameters(), before, strict=True))


def test_the_buffer_is_bounded_and_counted() -> None:
    history = trainer_of(own={"buffer": 20}).run().history
    assert [row["buffer"] for row in history] == [8, 16, 20, 20, 20, 20]
    assert [row["fallen_out"] for row in history] == [0, 0, 4, 12, 20, 28]


@pytest.mark.parametrize(("rate", "every"), [(1.0, 4), (0.25, 1)])
def test_the_target_network_is_copied_or_follows(rate: float, every: int) -> None:
    trainer = trainer_of(own={"target_rate": rate, "target_every": every, "updates": 3})
    trainer.buffer.add(some_episodes())
    expected = {n: p.detach().clone() for n, p in trainer.parameters.items()}
    trail = []
    learn_from = trainer.learn_from

    def watched(drawn: Any) -> dict[str, float]:
        done = learn_from(drawn)
        trail.append({n: p.detach().clone() for n, p in trainer.parameters.items()})
        return done

    trainer.learn_from = watched  # type: ignore[method-assign]
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["peak"]
    trainer.learn(0)
    trainer.learn(1)
    for number, weights in enumerate(trail, 1):
        if number % every == 0:
            expected = {n: (1 - rate) * p + rate * weights[n] for n, p in expected.items()}
    tensors, _ = trainer.state()
    for name, value in expected.items():
        torch.testing.assert_close(tensors[f"target/{name}"], value, atol=1e-6, rtol=1e-5)


def test_exploration_cools_down_and_draws_by_its_temperature() -> None:
    trainer = trainer_of(steps=10, own={**FREE, "temperature_start": 0.4, "temperature_end": 0.1, "annealing": 0.5})
    temperatures = [trainer.temperature(step) for step in (0, 2, 5, 9)]
    assert temperatures == pytest.approx([0.4, 0.28, 0.1, 0.1])
    prompt = trainer.prompts[0]
    trainer.settings = trainer.settings.model_copy(update={"samples_per_prompt": 4000, "max_new_tokens": 1})
    drawn = trainer.roll_out([prompt], 5, 1)
    with torch.no_grad():
        q = q_by_transformers(trainer.network, Episode(tuple(prompt.ids), (0,), 0.0))[0]
    counts = torch.bincount(torch.tensor([t[0] for t in drawn.tokens]), minlength=7) / 4000
    torch.testing.assert_close(counts, (q / 0.1).softmax(-1), atol=0.03, rtol=0)


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_epsilon_greedy_takes_the_best_but_now_and_then(name: str) -> None:
    own = {**FREE, "exploration": "epsilon_greedy", "epsilon_start": 0.5, "epsilon_end": 0.0, "annealing": 1.0}
    trainer = trainer_of(name, own=own, steps=10)
    prompt = trainer.prompts[0]
    trainer.settings = trainer.settings.model_copy(update={"samples_per_prompt": 1000, "max_new_tokens": 1})
    best = int(q_by_transformers(trainer.network, Episode(tuple(prompt.ids), (0,), 0.0))[0].argmax())
    for step, epsilon in ((0, 0.5), (6, 0.2), (10, 0.0)):
        drawn = [tokens[0] for tokens in trainer.roll_out([prompt], step, 1).tokens]
        assert drawn.count(best) / 1000 == pytest.approx(1 - epsilon + epsilon / 7, abs=0.05)
        assert len(set(drawn)) == (7 if epsilon else 1)


@pytest.mark.parametrize("name", ["llama", "llama-tied", "gpt2"])
def test_what_is_written_is_the_boltzmann_policy_of_plain_transformers(name: str, tmp_path: Path) -> None:
    trainer = stirred(trainer_of(name, own={**FREE, "temperature_start": 0.3, "temperature_end": 0.1}))
    episode = some_episodes()[2]
    with torch.no_grad():
        expected = (q_by_transformers(trainer.network, episode) / 0.1).softmax(-1)
        trainer.written().save(tmp_path / "q")
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "q").eval()
        out = plain(input_ids=torch.tensor([episode.prompt + episode.tokens])).logits[0]
    found = out[len(episode.prompt) - 1 : -1].softmax(-1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    drawn = sample(Policy.load(tmp_path / "q"), [[1, 2]], SamplingSettings(max_new_tokens=3), 0)
    assert len(drawn.tokens) == 2


@pytest.mark.parametrize("exploration", ["anchored", "boltzmann", "epsilon_greedy"])
def test_resumed_is_uninterrupted(exploration: str, tmp_path: Path) -> None:
    own = {"buffer": 20, "target_every": 2, "target_rate": 1.0}
    own |= {} if exploration == "anchored" else {**FREE, "exploration": exploration}

    def outcome(watchers: list[Watcher]) -> tuple[dict[str, Tensor], str]:
        for watcher in watchers:
            trainer = trainer_of(own=own, checkpoint_every=2)
            try:
                result = trainer.run(Checkpoints(tmp_path / str(len(watchers)), "p"), watcher)
            except Stopped:
                continue
        return trainer.state()[0], str((result.history, result.tokens))

    (once, told), (resumed, told_again) = outcome([Watcher()]), outcome([StopAt(3), Watcher()])
    assert told == told_again
    assert once.keys() == resumed.keys()
    assert all(torch.equal(once[n], resumed[n]) for n in once)


def test_a_reward_that_is_no_number_is_refused() -> None:
    def reward(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.tensor([math.nan if row == 3 else 0.5 for row in range(len(samples.tokens))])

    with pytest.raises(TrainingError, match=r"the reward of a sample is nan.*of 8 samples 1 have no finite score"):
        trainer_of(scorer=reward).step(0)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="draw more wildly than the model did"):
        DQNSettings(anchored=False, temperature_start=0.1, temperature_end=0.2)
    with pytest.raises(ValueError, match="which token is best, as epsilon_greedy must know"):
        DQNSettings(exploration="epsilon_greedy")
    with pytest.raises(
        ValueError, match=r"temperature_end 0\.05 with anchored values: their policy is that of one temperature, 0\.1"
    ):
        DQNSettings(temperature_end=0.05)
    with pytest.raises(ValueError, match=r"epsilon_end 0\.5 is above epsilon_start 0\.2"):
        DQNSettings(epsilon_end=0.5)


# What it must find


STATES = [moves for length in range(MOVES) for moves in itertools.product((0, 1), repeat=length)]


def chain_table() -> dict[tuple[int, ...], list[float]]:
    """The values of the chain by tabular Q-learning, each text of moves being a state."""
    number = {moves: n for n, moves in enumerate(STATES)}
    leads = tuple(tuple(number.get((*moves, move), -1) if move < 2 else -1 for move in range(3)) for moves in STATES)
    brings = tuple(
        tuple(0.0 if to >= 0 else chain_reward((*moves, move)) for move, to in enumerate(row))
        for moves, row in zip(STATES, leads, strict=True)
    )
    world = World(tuple(map(str, STATES)), ("left", "right", "stop"), leads, brings)
    found = q_learning(world, 4000, 0, rate=1.0, epsilon=1.0).tables[-1]
    return {moves: found[number[moves]].tolist() for moves in STATES}


def test_tabular_q_learning_of_the_chain_is_bellmans_equation() -> None:
    for moves, row in chain_table().items():
        assert row == pytest.approx([chain_q(moves, move) for move in range(3)], abs=1e-3)


def learned_chain(seed: int, steps: int, **own: Any) -> QTrainer:
    """A trainer of the chain at its end."""

    def scorer(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.tensor([chain_reward(tokens) for tokens in samples.tokens])

    policies = [tiny_policy("gpt2", seed, "ab", initializer_range=0.08) for _ in range(2)]
    settings = PolicySettings(
        algorithm="dqn",
        steps=steps,
        prompts_per_step=1,
        samples_per_prompt=32,
        max_new_tokens=MOVES,
        learning_rate=5e-3,
        value_learning_rate=1e-2,
        missing_end_penalty=0.0,
        kl_budget=1e6,
        max_grad_norm=10.0,
    )
    small = {"temperature_start": 1.0, "annealing": 1.0, "buffer": 512, "target_rate": 0.2}
    trainer = QTrainer(*policies, scorer, [Prompt("a", [0])], settings, DQNSettings(**{**small, **own}), seed)
    trainer.run()
    return trainer


VARIANTS: list[dict[str, Any]] = [
    {"n_step": 1},
    {"n_step": 2},
    {"n_step": 1, "double": False, "target_rate": 1.0, "target_every": 10},
    {"n_step": 1, "exploration": "epsilon_greedy", "epsilon_start": 1.0, "epsilon_end": 0.3},
]
RUNS = [(variant, seed) for seed in range(5) for variant in VARIANTS]


@pytest.mark.parametrize(("own", "seed"), [RUNS[0], *(pytest.param(*run, marks=pytest.mark.slow) for run in RUNS[1:])])
def test_it_finds_the_values_of_the_chain_and_the_way_to_its_better_end(own: dict[str, Any], seed: int) -> None:
    trainer = learned_chain(seed, 40, **{"updates": 6, "temperature_end": 0.2, **FREE, **own})
    with torch.no_grad():
        q = q_by_transformers(trainer.network, Episode((0,), (0,), 0.0))[0]
    away = float((q - torch.tensor(chain_table()[()])).abs().max())
    greedy = SamplingSettings(samples_per_prompt=1, max_new_tokens=MOVES, temperature=0.0)
    (walked,) = sample(trainer.written(), [[0]], greedy, 0).tokens
    assert chain_reward(walked) == pytest.approx(max(chain_q((), move) for move in range(3)))
    # Targets of two steps are of the explorer's moves, not of the best: they are too low where it strays.
    assert away < (0.2 if own["n_step"] == 1 else 0.35)


TEXTS = [
    moves
    for length in range(1, MOVES + 1)
    for moves in itertools.product((0, 1, 2), repeat=length)
    if 2 not in moves[:-1] and (moves[-1] == 2 or length == MOVES)
]


@torch.no_grad()
def text_probabilities(policy: Policy) -> Tensor:
    """Of each text of the chain, the probabilities of its tokens multiplied."""
    found = []
    for moves in TEXTS:
        logprobs = by_transformers(policy, Episode((0,), moves, 0.0))[1]
        found.append(sum(float(logprobs[t, move]) for t, move in enumerate(moves)))
    return torch.tensor(found).exp()


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_anchored_it_finds_the_best_policy_under_the_kl_penalty(n_step: int, seed: int) -> None:
    """Of all policies that of the texts in proportion to reference exp(reward / temperature), in closed form."""
    warmth = 0.2
    trainer = learned_chain(seed, 60, updates=8, temperature_start=warmth, n_step=n_step)
    before = text_probabilities(trainer.reference)
    assert float(before.sum()) == pytest.approx(1.0, abs=1e-5), "these are all the texts there are"
    best = before * torch.tensor([chain_reward(moves) / warmth for moves in TEXTS]).exp()
    best /= best.sum()
    away, gone = (0.5 * float((p - best).abs().sum()) for p in (text_probabilities(trainer.written()), before))
    assert gone > 0.3
    assert away < 0.05
