"""Every algorithm on small problems whose best answer is known: a chain of five states, shortest paths in a graph, a bandit."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from heed.algorithms import ALGORITHMS
from heed.config import GROUPED, PolicySettings, PreferenceSettings, SamplingSettings
from heed.models.decode import Samples, sample
from heed.models.policy import Policy
from heed.models.reward import ScalarModel
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.preferences import Example, PreferenceTask, Text, coefficients, learn_preferences, text_logprobs
from heed.train.recipes import RECIPES
from tiny_models import causal_model, tiny_policy
from tiny_walks import LONGEST, MOVES, NODES, chain_q, chain_reward, graph, walk_reward, walks

SEEDS = range(5)


def quick_first(runs: list[tuple[str, int]]) -> list[Any]:
    """The first run as it is, the others slow."""
    return [runs[0], *(pytest.param(*run, marks=pytest.mark.slow) for run in runs[1:])]


def trainer_of(
    name: str, letters: str, seed: int, scorer: Any, prompts: list[Prompt], longest: int, **changes: Any
) -> OnlineTrainer:
    """A trainer of a random policy that sees where it is in a text: its positions are learned."""
    policies = [tiny_policy("gpt2", seed, letters, initializer_range=0.02) for _ in range(2)]
    values: dict[str, Any] = {
        "algorithm": name,
        "prompts_per_step": len(prompts),
        "samples_per_prompt": 16 if name in GROUPED or len(prompts) == 1 else 8,
        "max_new_tokens": longest,
        "learning_rate": 3e-3,
        "value_learning_rate": 1e-2,
        "missing_end_penalty": 0.0,
        "kl_coefficient": 0.01,
        "kl_budget": 1e6,
        "update_kl_limit": 1e6,
        "max_grad_norm": 10.0,
        "entropy_coefficient": 0.0 if name in ("trpo", "online_dpo") else 0.05,
        "trust_region": 0.05,
        "staleness": 0,
    }
    critic = None
    if RECIPES[name].critic:
        critic = ScalarModel(causal_model("gpt2", len(letters) + 1, seed + 7).base_model, seed)
        torch.nn.init.zeros_(critic.head.weight)
    return OnlineTrainer(*policies, scorer, prompts, PolicySettings(**(values | changes)), seed, critic)


def likeliest(policy: Policy, prompts: list[list[int]], longest: int) -> list[list[int]]:
    settings = SamplingSettings(samples_per_prompt=1, max_new_tokens=longest, temperature=0.0)
    return sample(policy, prompts, settings, 0).tokens


@pytest.mark.parametrize(("name", "seed"), quick_first([(name, seed) for name in RECIPES for seed in SEEDS]))
def test_it_walks_to_the_better_end_of_the_chain(name: str, seed: int) -> None:
    def scorer(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.tensor([chain_reward(tokens) for tokens in samples.tokens])

    trainer = trainer_of(name, "ab", seed, scorer, [Prompt("a", [0])], MOVES, samples_per_prompt=256, steps=60)
    trainer.run()
    (walked,) = likeliest(trainer.policy, [[0]], MOVES)
    assert chain_reward(walked) == pytest.approx(max(chain_q((), move) for move in range(3)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in RECIPES for seed in SEEDS])
def test_it_finds_shortest_paths_in_a_graph(name: str, seed: int) -> None:
    edges = graph(seed)
    end = NODES

    def scorer(prompts: Any, prompt_ids: list[list[int]], samples: Samples) -> Tensor:
        gone = [[token for token in tokens if token != end] for tokens in samples.tokens]
        return torch.tensor([walk_reward(edges, ids[0], path) for ids, path in zip(prompt_ids, gone, strict=True)])

    prompts = [Prompt(str(node), [node]) for node in range(1, NODES)]
    trainer = trainer_of(name, "abcdefgh", seed, scorer, prompts, LONGEST + 1, steps=80, samples_per_prompt=32)
    # As people's walks: what is logged teaches where edges lead, and little of which way is short.
    logged = [Text((start,), (*gone, end)) for start, gone in walks(edges, 400, seed)]
    imitate(trainer.policy, logged, seed)
    trainer.reference.model.load_state_dict(trainer.policy.model.state_dict())
    before = shortest(trainer.policy, edges)
    trainer.run()
    after = shortest(trainer.policy, edges)
    assert before < 0.9
    assert after == 1.0


def imitate(policy: Policy, logged: list[Text], seed: int) -> None:
    from heed.config import SFTSettings
    from heed.train.supervised import tune

    settings = SFTSettings(epochs=10, prompts_per_step=50, learning_rate=5e-3)
    tune(policy, [(list(text.prompt), list(text.completion)) for text in logged], settings, seed)


def shortest(policy: Policy, edges: dict[int, tuple[int, ...]]) -> float:
    """Share of the nodes from which the likeliest walk is a shortest path."""
    gone = likeliest(policy, [[node] for node in range(1, NODES)], LONGEST + 1)
    paths = [[token for token in tokens if token != NODES] for tokens in gone]
    return sum(walk_reward(edges, start, path) == 1.0 for start, path in enumerate(paths, 1)) / len(paths)


PAIRED = [
    name for name, one in ALGORITHMS.items() if one.learns_from in ("pairs", "singles", "rankings") and name != "ilql"
]


@pytest.mark.parametrize(("name", "seed"), quick_first([(name, seed) for name in PAIRED for seed in SEEDS]))
def test_judged_arms_end_in_the_order_of_their_worth(name: str, seed: int) -> None:
    """Four texts of a letter, every two judged as often as Bradley-Terry says."""
    generator = torch.Generator().manual_seed(seed)
    reward = torch.tensor([1.5, 0.5, -0.5, -1.5])[torch.randperm(4, generator=generator)]
    policy = tiny_policy("gpt2", seed, initializer_range=0.08)
    end = policy.end_id
    texts = [Text((5,), (letter, end)) for letter in range(4)]
    algorithm = ALGORITHMS[name]
    if algorithm.learns_from == "singles":
        chance = torch.sigmoid(reward).tolist()
        examples = [
            Example((arm,), (place,), chance[arm] if place == 0 else 1 - chance[arm])
            for arm in range(4)
            for place in (0, 1)
        ]
    else:
        pairs = list(permutations(range(4), 2))
        examples = [Example(pair, (0, 1), float(torch.sigmoid(reward[pair[0]] - reward[pair[1]]))) for pair in pairs]
    settings = PreferenceSettings(epochs=150, prompts_per_step=12, learning_rate=3e-3)
    task = PreferenceTask(policy, algorithm, texts, examples, [], coefficients(algorithm, settings), 1000)
    learn_preferences(task, settings, seed)
    found = text_logprobs(policy, texts, 1000)
    if name != "orpo":  # which knows no reference
        found = found - task.reference
    assert found.argmax() == reward.argmax()
    if name != "kto":  # whose loss is as good as flat where a text is far below its reference point
        assert found.argsort().tolist() == reward.argsort().tolist()
