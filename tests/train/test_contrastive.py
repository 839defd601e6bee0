"""Contrastive pretraining: what is computed, that a split or a stop changes nothing, that it learns, and that collapse is told."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from heed.losses.contrastive import nt_xent, uniformity
from heed.models.reward import Encoded, ScalarModel
from heed.train.checkpoint import Checkpoints
from heed.train.contrastive import UNKNOWN, ContrastiveTask, Method, Text, pretrain_contrastive, view_of
from heed.train.optimise import FitSettings
from heed.train.progress import Stopped, Watcher
from heed.training_settings import ContrastiveSettings
from tiny_models import causal_model

METHODS: tuple[Method, ...] = ("simclr", "moco", "swav")


def texts_of(count: int, seed: int = 0, judged: bool = False) -> list[Text]:
    """Texts of two sorts: of low letters and of high ones; the sort is the quality where it is known."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        high = number % 2
        ids = (rng.randrange(16), *(8 * high + rng.randrange(8) for _ in range(rng.randrange(6, 12))), 16)
        found.append(Text(Encoded(ids, 1, len(ids)), rng.randrange(2), high if judged and number % 3 else UNKNOWN))
    return found


def task_of(method: Method, texts: list[Text], watcher: Watcher | None = None, **changes: Any) -> ContrastiveTask:
    values: dict[str, Any] = {
        "prompts_per_step": 12,
        "queue": 16,
        "prototypes": 4,
        "dimensions": 8,
        "checkpoint_every": 3,
    }
    settings = ContrastiveSettings(**(values | {"learning_rate": 3e-3} | changes))
    model = ScalarModel(causal_model("llama", 17, 7).base_model, 0)
    return ContrastiveTask(model, texts, method, settings, 3, watcher or Watcher())


def run(
    task: ContrastiveTask, steps: int, checkpoints: Checkpoints | None = None
) -> tuple[dict[str, Tensor], list[Any]]:
    settings = FitSettings.of(task.settings, len(task.texts))
    settings.steps = steps
    done = pretrain_contrastive(task, settings, 3, checkpoints, task.watcher)
    return {
        f"{n}.{k}": p.detach().clone() for n, m in task.networks.items() for k, p in m.named_parameters()
    }, done.history


def gradients_of(task: ContrastiveTask, rows: list[int], split: int) -> tuple[float, dict[str, Tensor]]:
    for network in task.networks.values():
        network.zero_grad()
    task.begin(rows)
    total = 0.0
    for start in range(0, len(rows), split):
        loss = task.loss(rows[start : start + split], len(rows))
        loss.backward()
        total += float(loss.detach())
    found = {n: p.grad.clone() for n, p in task.model.backbone.named_parameters() if p.grad is not None}
    return total, found | {n: p.grad.clone() for n, p in task.projection.named_parameters()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("judged", [False, True])
def test_a_split_changes_neither_loss_nor_gradient(method: Method, judged: bool) -> None:
    task, rows = task_of(method, texts_of(20, judged=judged)), list(range(12))
    whole, parts = gradients_of(task, rows, 12), gradients_of(task, rows, 5)
    assert whole[0] == pytest.approx(parts[0], rel=1e-5)
    assert whole[1].keys() == parts[1].keys()
    for name, gradient in whole[1].items():
        torch.testing.assert_close(gradient, parts[1][name], atol=1e-6 + 1e-4 * float(gradient.abs().max()), rtol=1e-3)
    assert max(float(gradient.abs().max()) for gradient in whole[1].values()) > 0


def test_the_loss_is_nt_xent_of_both_views_with_the_gradient_that_autograd_gives_it() -> None:
    task, rows = task_of("simclr", texts_of(20)), list(range(12))
    total, found = gradients_of(task, rows, 12)
    task.model.zero_grad()
    direct = nt_xent(task._first(rows), task._second(rows), task.settings.temperature)
    direct.backward()
    assert total == pytest.approx(float(direct.detach()), rel=1e-5)
    for name, parameter in task.model.backbone.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_stopped_and_gone_on_is_uninterrupted_bit_for_bit(method: Method, tmp_path: Path) -> None:
    texts = texts_of(40, judged=True)
    expected, history = run(task_of(method, texts), 8)

    class Stopper(Watcher):
        def advance(self, done: int, total: int, line: str) -> None:
            if done == 5:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        run(task_of(method, texts, Stopper()), 8, Checkpoints(tmp_path / "c", "p"))
    assert (tmp_path / "c" / "step-5").is_dir()
    again, resumed = run(task_of(method, texts), 8, Checkpoints(tmp_path / "c", "p"))
    assert resumed == history
    assert again.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(again[name], values), name


@pytest.mark.parametrize("method", METHODS)
def test_texts_of_like_quality_come_together(method: Method) -> None:
    """Two sorts of texts, told by judgments of two thirds: after training the unjudged third is told apart as well."""
    texts = texts_of(60, judged=True)
    task = task_of(method, texts, prompts_per_step=24, learning_rate=2e-3, momentum=0.5)

    def parted() -> float:
        with torch.no_grad():
            states = task.projection(task.model.states([text.encoded for text in texts], "mean"))
        cosines = states @ states.T
        sort = torch.arange(len(texts)) % 2
        unjudged = torch.tensor([text.quality == UNKNOWN for text in texts])
        same = (sort[:, None] == sort[None]) & unjudged[:, None] & ~torch.eye(len(texts), dtype=torch.bool)
        other = (sort[:, None] != sort[None]) & unjudged[:, None]
        return float(cosines[same].mean() - cosines[other].mean())

    before = parted()
    _, history = run(task, 40)
    assert parted() > before + 0.1
    assert all(row["gradient_norm"] < 1e3 for row in history)


def test_the_slow_encoder_follows_and_the_queue_holds_the_latest_keys_with_their_classes() -> None:
    texts = texts_of(40, judged=True)
    task = task_of("moco", texts, momentum=0.5, queue=16)
    start = {name: p.clone() for name, p in task.slow.backbone.named_parameters()}
    for name, p in task.model.backbone.named_parameters():
        assert torch.equal(start[name], p.detach())
    run(task, 1)
    rows, keys = task.found
    assert len(rows) == 12
    for name, p in task.slow.backbone.named_parameters():
        fast = dict(task.model.backbone.named_parameters())[name].detach()
        torch.testing.assert_close(p, 0.5 * start[name] + 0.5 * fast)
    assert torch.equal(task.memory.queue[:12], keys)
    assert task.memory.classes[:12].tolist() == [[texts[row].kind, texts[row].quality] for row in rows]
    assert task.memory.classes[12:].eq(UNKNOWN).all()
    task.stepped(2)
    assert torch.equal(task.memory.queue[[12, 13, 14, 15, *range(8)]], keys)


def test_a_view_lacks_tokens_of_the_completion_alone() -> None:
    text, rng = Encoded((1, 2, 3, *range(10, 60), 4), 3, 53), random.Random(0)
    sizes = []
    for _ in range(200):
        view = view_of(text, 0.3, rng)
        assert view.ids[:3] == (1, 2, 3)
        assert view.ids[view.end :] == (4,)
        inside = view.ids[view.start : view.end]
        assert list(inside) == sorted(inside)
        sizes.append(len(inside))
    assert sum(sizes) / 200 == pytest.approx(35, abs=1.5)
    assert len(view_of(Encoded((1, 2), 1, 2), 0.99, rng).ids) == 2


def test_a_mate_is_of_the_same_kind_and_quality_and_each_step_draws_anew() -> None:
    texts = texts_of(40, judged=True)
    task = task_of("simclr", texts)
    seen: dict[int, set[int]] = {}
    for step in range(6):
        task.stepped(step)
        for row, text in enumerate(texts):
            mate = task._mate(row)
            assert mate == task._mate(row)
            seen.setdefault(row, set()).add(mate)
            if text.quality == UNKNOWN:
                assert mate == row
            else:
                assert (texts[mate].kind, texts[mate].quality) == (text.kind, text.quality)
                assert mate != row
    assert max(map(len, seen.values())) > 2


def test_collapse_is_told() -> None:
    class Heard(Watcher):
        def __init__(self) -> None:
            self.said: list[str] = []

        def alarm(self, text: str) -> None:
            self.said.append(text)

    watcher = Heard()
    task = task_of("simclr", texts_of(24), watcher, learning_rate=0.0)
    with torch.no_grad():
        task.projection.second.weight.zero_()
    run(task, 4)
    assert [text.partition(":")[0] for text in watcher.said] == ["step 2"]
    fine = Heard()
    healthy = task_of("simclr", texts_of(24), fine, learning_rate=1e-3)
    run(healthy, 4)
    assert not fine.said
    assert healthy.spread().uniformity < -0.5
    assert (
        uniformity(healthy.projection(healthy.model.states([t.encoded for t in healthy.texts], "mean")).detach()) < -0.5
    )
