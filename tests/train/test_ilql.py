"""Implicit language Q-learning: its losses through a model, splits, the fold into one head, shortest paths from walks by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from heed.config import ILQLSettings, SamplingSettings
from heed.errors import TrainingError
from heed.losses.q_learning import advantage_shaped
from heed.models.decode import sample
from heed.models.policy import Policy
from heed.train.checkpoint import Checkpoints
from heed.train.ilql import ILQLTask, Rewarded, lean, learn_values
from heed.train.preferences import Text
from heed.train.progress import Stopped, Watcher
from stopping import StopAt
from tiny_models import tiny_policy
from tiny_walks import LONGEST, NODES, graph, walk_reward, walks
from tokens import END, texts_of

LETTERS = "abcdefgh"  # one for each node of the graph


def task_of(policy: Policy, count: int = 9, **changes: Any) -> ILQLTask:
    rewards, weights = [1.0, -1.0, 0.5, -0.25], [1.0, 0.5, 2.0]
    examples = [Rewarded(n, rewards[n % 4], weights[n % 3]) for n in range(count)]
    return ILQLTask(policy, texts_of(count), examples, ILQLSettings(**changes))


def stirred(task: ILQLTask, seed: int = 1) -> ILQLTask:
    """Networks and heads away from where they start, where much is 0 or alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for network in task.networks.values():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return task


def gradient(task: ILQLTask) -> torch.Tensor:
    leaves = [p for network in task.networks.values() for p in network.parameters()]
    found = torch.cat([p.grad.flatten() for p in leaves if p.grad is not None])
    for network in task.networks.values():
        network.zero_grad()
    return found


def loss_on_paper(task: ILQLTask, row: int) -> float:
    """The sum over a text's tokens, with transformers' hidden states and loops in place of grids."""
    one, settings, heads = task.examples[row], task.settings, task.heads
    text = task.texts[one.text]
    out = task.policy.model(input_ids=torch.tensor([text.prompt + text.completion]), output_hidden_states=True)
    first = len(text.prompt) - 1
    states = out.hidden_states[-1][0][first : first + len(text.completion)]
    values = heads.value(states)[:, 0].tolist()
    q = (heads.level(states) + heads.advantage(states)).tolist()
    slow = (heads.slow_level(states) + heads.slow_advantage(states)).tolist()
    likely = out.logits[0][first : first + len(text.completion)].log_softmax(-1).tolist()
    total = 0.0
    for t, token in enumerate(text.completion):
        ends = t == len(text.completion) - 1
        target = one.reward if ends else settings.gamma * values[t + 1]
        total += 0.5 * (q[t][token] - target) ** 2
        over = slow[t][token] - values[t]
        total += (settings.expectile if over > 0 else 1 - settings.expectile) * over**2
        total += settings.conservative * float(torch.tensor(q[t]).logsumexp(0) - q[t][token])
        total -= settings.imitation * likely[t][token]
    return one.weight * total


def test_the_loss_is_that_of_the_paper() -> None:
    task = stirred(task_of(tiny_policy("gpt2"), gamma=0.9, expectile=0.8, conservative=0.3, imitation=0.5))
    rows = list(range(len(task.examples)))
    count = task.count(rows)
    assert count == sum(len(text.completion) for text in task.texts)
    expected = sum(loss_on_paper(task, row) for row in rows) / count
    assert float(task.loss(rows, count).detach()) == pytest.approx(expected, rel=1e-4)


def test_gradients_are_those_of_any_split_and_order() -> None:
    task = stirred(task_of(tiny_policy()))
    rows = list(range(len(task.examples)))
    count = task.count(rows)
    task.loss(rows, count).backward()
    whole = gradient(task)
    for part in (rows[::-1][:2], rows[::-1][2:3], rows[::-1][3:]):
        task.loss(part, count).backward()
    torch.testing.assert_close(gradient(task), whole, atol=1e-6 + 1e-5 * float(whole.abs().max()), rtol=1e-3)


def test_no_gradient_reaches_what_targets_are_taken_from() -> None:
    task = stirred(task_of(tiny_policy()))
    task.loss([0, 1], 9).backward()
    assert task.heads.slow_advantage.weight.grad is None
    assert task.heads.slow_level.weight.grad is None
    before = task.heads.slow_advantage.weight.clone()
    task.stepped(1)
    expected = before + task.settings.target_rate * (task.heads.advantage.weight - before)
    torch.testing.assert_close(task.heads.slow_advantage.weight, expected)


@pytest.mark.parametrize("name", ["llama", "llama-tied", "gpt2", "opt"])
def test_the_folded_model_samples_what_shaping_would(name: str, tmp_path: Path) -> None:
    """log pi + beta (Q - V) of the parts, token by token, against plain transformers on the folder that was saved."""
    task = stirred(task_of(tiny_policy(name), beta=3.0))
    ids = torch.tensor([[1, 4, 2, 2, 7]])
    with torch.no_grad():
        out = task.policy.model(input_ids=ids, output_hidden_states=True)
        hidden = out.hidden_states[-1][0]
        q = task.heads.slow_level(hidden) + task.heads.slow_advantage(hidden)
        shaped = advantage_shaped(out.logits[0], q, task.heads.value(hidden)[:, 0], 3.0)
        assert float((shaped - out.logits[0].log_softmax(-1)).abs().max()) > 0.3, "it leans"
        lean(task)
        task.policy.save(tmp_path / "folded")
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "folded").eval()
        torch.testing.assert_close(plain(input_ids=ids).logits[0].log_softmax(-1), shaped, atol=1e-4, rtol=1e-4)
    policy = Policy.load(tmp_path / "folded")
    settings = SamplingSettings(samples_per_prompt=1, max_new_tokens=1, temperature=0.0)
    assert sample(policy, ids.tolist(), settings, 0).tokens == [[int(shaped[-1].argmax())]]


def test_at_the_start_and_at_beta_zero_nothing_leans() -> None:
    for task in (task_of(tiny_policy()), stirred(task_of(tiny_policy(), beta=0.0))):
        before = task.policy.model.get_output_embeddings().weight.detach().clone()
        lean(task)
        torch.testing.assert_close(task.policy.model.get_output_embeddings().weight.detach(), before)


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    changes = {"epochs": 3, "prompts_per_step": 2, "learning_rate": 1e-3, "checkpoint_every": 2}

    def outcome(watchers: list[Watcher]) -> dict[str, torch.Tensor]:
        for watcher in watchers:
            task = task_of(tiny_policy(), **changes)
            try:
                done = learn_values(task, 3, Checkpoints(tmp_path / str(len(watchers)), "p"), watcher)
            except Stopped:
                continue
        lean(task)
        named = {n: p.detach() for net in task.networks.values() for n, p in net.named_parameters()}
        return named | {"losses": torch.tensor([row["loss"] for row in done.history])}

    once, resumed = outcome([Watcher()]), outcome([StopAt(3), Watcher()])
    assert all(torch.equal(once[n], resumed[n]) for n in once)


def test_the_self_check_passes_on_what_is_sound() -> None:
    assert "alone as among others within" in task_of(tiny_policy("llama-grouped")).check_start()


def test_a_model_that_mixes_its_batch_is_refused() -> None:
    task = task_of(tiny_policy())
    task.reference = task.reference + 1.0
    with pytest.raises(TrainingError, match="not as probable alone as among others"):
        task.check_start()


def test_values_of_a_bandit_are_its_mean_rewards() -> None:
    """One prompt, three one-letter texts judged well in 80, 50 and 20 of 100 cases: Q of the letter is the mean of its rewards."""
    policy = tiny_policy("gpt2", initializer_range=0.08)
    texts = [Text((5,), (letter, END)) for letter in range(3)]
    examples = [Rewarded(n, 1.0 if k < good else -1.0) for n, good in enumerate((8, 5, 2)) for k in range(10)]
    task = ILQLTask(
        policy,
        texts,
        examples,
        ILQLSettings(
            epochs=150, prompts_per_step=30, learning_rate=4e-3, head_rate=2.0, conservative=0.0, expectile=0.5
        ),
    )
    learn_values(task, 0)
    with torch.no_grad():
        state = policy.model(input_ids=torch.tensor([[5]]), output_hidden_states=True).hidden_states[-1][0, -1]
        q = (task.heads.level(state) + task.heads.advantage(state))[:3].tolist()
        value = float(task.heads.value(state)[0])
    assert q == pytest.approx([0.6, 0.0, -0.6], abs=0.1)
    assert value == pytest.approx(0.0, abs=0.1)
    before = policy.model(input_ids=torch.tensor([[5]])).logits[0, -1].softmax(-1)[:3].tolist()
    assert before == pytest.approx([1 / 3] * 3, abs=0.05), "each was written as often as the others"
    lean(task)
    after = policy.model(input_ids=torch.tensor([[5]])).logits[0, -1].softmax(-1)[:3].tolist()
    assert after[0] > 0.85


def shortest(policy: Policy, edges: dict[int, tuple[int, ...]]) -> float:
    """Share of the nodes from which the policy's likeliest walk is a shortest path to the goal."""
    settings = SamplingSettings(samples_per_prompt=1, max_new_tokens=LONGEST + 1, temperature=0.0)
    written = sample(policy, [[node] for node in range(1, NODES)], settings, 0)
    end = policy.end_id
    gone = [[token for token in tokens if token != end] for tokens in written.tokens]
    return sum(walk_reward(edges, start, path) == 1.0 for start, path in enumerate(gone, 1)) / len(gone)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_shortest_paths_are_put_together_from_walks_by_chance(seed: int) -> None:
    """Imitation walks as the logged walks did; leaning by values takes the shortest way from everywhere."""
    edges = graph(seed)
    logged = walks(edges, 400, seed)
    texts = [Text((start,), (*gone, NODES)) for start, gone in logged]
    examples = [Rewarded(n, walk_reward(edges, start, gone)) for n, (start, gone) in enumerate(logged)]
    policy = tiny_policy("gpt2", seed, LETTERS, initializer_range=0.08)
    settings = ILQLSettings(epochs=60, prompts_per_step=50, learning_rate=4e-3, head_rate=2.0, beta=8.0)
    task = ILQLTask(policy, texts, examples, settings)
    learn_values(task, seed)
    imitated = shortest(policy, edges)
    lean(task)
    assert shortest(policy, edges) == 1.0
    assert imitated < 0.8
