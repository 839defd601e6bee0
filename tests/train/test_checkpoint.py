"""Checkpoints: exact round trips, torn and foreign folders, full disks."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from heed.errors import ProjectError, TrainingError
from heed.models.policy import Continuations, Policy, token_scores
from heed.train.checkpoint import Checkpoints, adamw, named_parameters, restore_training_state, training_state
from tiny_models import tiny_policy
from tiny_training import save_with_little_room, start

NUMBERS = {"history": [{"loss": 0.1 + 0.2, "step": 1}], "best": 1e-300, "coefficient": 0.05 * 1.1**7}


def some_tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "half": torch.randn(3, generator=generator).bfloat16(),
        "strided": torch.randn(4, 5, generator=generator).t(),
        "step": torch.tensor(7.0),
        "count": torch.tensor([1, 2]),
    }


def test_round_trip_is_exact(tmp_path: Path) -> None:
    tensors = some_tensors(0)
    Checkpoints(tmp_path / "c", "print").save(3, tensors, NUMBERS)
    saved = Checkpoints(tmp_path / "c", "print").latest()
    assert saved is not None
    assert (saved.step, saved.numbers) == (3, NUMBERS)
    assert saved.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert saved.tensors[name].dtype == tensor.dtype
        assert torch.equal(saved.tensors[name], tensor)


def test_nothing_saved_is_nothing_found(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "never made", "print").latest() is None


def test_the_newest_two_stay_and_the_newest_counts_by_number(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "print")
    for step in (8, 9, 10, 11):
        checkpoints.save(step, some_tensors(step), {})
    assert {entry.name for entry in tmp_path.iterdir()} == {"step-10", "step-11"}
    saved = checkpoints.latest()
    assert saved is not None
    assert saved.step == 11
    checkpoints.clear()
    assert checkpoints.latest() is None
    assert not tmp_path.exists()


def test_drafts_of_processes_that_are_no_more_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "print")
    checkpoints.save(1, some_tensors(1), {})
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for writer in (dead.pid, os.getpid(), os.getppid()):
        (tmp_path / f".draft-{writer}").mkdir()
        (tmp_path / f".draft-{writer}" / "tensors.safetensors").write_bytes(b"torn")
    (tmp_path / f".draft-{dead.pid}-old-7").mkdir()
    saved = checkpoints.latest()
    assert saved is not None
    assert saved.step == 1
    checkpoints.save(2, some_tensors(2), {})
    assert {entry.name for entry in tmp_path.iterdir()} == {"step-1", "step-2", f".draft-{os.getppid()}"}


def test_another_runs_checkpoints_are_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "one").save(1, some_tensors(1), {})
    with pytest.raises(ProjectError, match="checkpoints of another run"):
        Checkpoints(tmp_path, "other").latest()


@pytest.mark.parametrize("limit", [0, 1000, 200_000])
def test_a_write_that_fails_leaves_the_earlier_checkpoint_and_no_draft(tmp_path: Path, limit: int) -> None:
    checkpoints = Checkpoints(tmp_path, "print")
    checkpoints.save(1, some_tensors(1), NUMBERS)
    answer = multiprocessing.get_context("forkserver").SimpleQueue()
    process = start(save_with_little_room, tmp_path, limit, answer)
    process.join(120)
    message = answer.get()
    assert f"cannot write to {tmp_path}" in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-1"]
    saved = checkpoints.latest()
    assert saved is not None
    assert (saved.step, saved.numbers) == (1, NUMBERS)


def test_a_full_disk_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of a real full disk: Python's own, and safetensors' with its number in the text only."""
    from safetensors import SafetensorError

    from heed.train import checkpoint

    for error in (
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ):

        def full(*args: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(checkpoint, "save_file", full)
        with pytest.raises(ProjectError, match="the disk is full"):
            Checkpoints(tmp_path, "print").save(1, some_tensors(1), {})


def step_of(policy: Policy, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(17, (6,), generator=generator).tolist()
    laid = Continuations.of([tokens[:2]], [tokens[2:]])
    (-token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs.mean()).backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", ["llama-tied", "llama", "gpt2"])
def test_training_goes_on_bit_for_bit_from_what_was_saved(name: str, tmp_path: Path) -> None:
    """Tied heads included: the weight is stored once and restored to both its places."""
    finals = []
    for interrupted in (False, True):
        policy = tiny_policy(name)
        parameters = named_parameters({"policy": policy.model})
        optimizer = adamw([{"params": list(parameters.values()), "lr": 0.01}], weight_decay=0.1)
        for seed in range(6):
            if interrupted and seed == 3:
                Checkpoints(tmp_path, "print").save(3, training_state(parameters, optimizer), {})
                saved = Checkpoints(tmp_path, "print").latest()
                assert saved is not None
                policy = tiny_policy(name, seed=99)
                parameters = named_parameters({"policy": policy.model})
                optimizer = adamw([{"params": list(parameters.values()), "lr": 0.01}], weight_decay=0.1)
                restore_training_state(parameters, optimizer, saved.tensors)
            step_of(policy, optimizer, seed)
        finals.append(training_state(parameters, optimizer))
    assert finals[0].keys() == finals[1].keys()
    assert any(key.startswith("exp_avg_sq/") for key in finals[0])
    for key in finals[0]:
        assert torch.equal(finals[0][key], finals[1][key]), key


def test_taken_state_does_not_follow_later_steps() -> None:
    policy = tiny_policy()
    parameters = named_parameters({"policy": policy.model})
    optimizer = adamw([{"params": list(parameters.values()), "lr": 0.01}])
    step_of(policy, optimizer, 0)
    before = training_state(parameters, optimizer)
    copies = {key: value.clone() for key, value in before.items()}
    step_of(policy, optimizer, 1)
    for key, value in before.items():
        assert torch.equal(value, copies[key])


def test_restoring_before_the_first_step_forgets_the_moments() -> None:
    policy = tiny_policy()
    parameters = named_parameters({"policy": policy.model})
    optimizer = adamw([{"params": list(parameters.values()), "lr": 0.01}])
    fresh = training_state(parameters, optimizer)
    step_of(policy, optimizer, 0)
    restore_training_state(parameters, optimizer, fresh)
    assert not optimizer.state
    assert all(torch.equal(p, fresh[f"weight/{name}"]) for name, p in parameters.items())


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    small, large = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
    state = training_state(named_parameters({"n": small}), torch.optim.AdamW(small.parameters()))
    with pytest.raises(TrainingError, match=r"it lacks n\.bias"):
        restore_training_state(named_parameters({"n": large}), torch.optim.AdamW(large.parameters()), state)


def test_the_file_is_plain_json_and_safetensors(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "print").save(4, some_tensors(0), NUMBERS)
    assert sorted(file.name for file in (tmp_path / "step-4").iterdir()) == ["state.json", "tensors.safetensors"]
    state = json.loads((tmp_path / "step-4" / "state.json").read_text())
    assert state == {"step": 4, "fingerprint": "print", "numbers": NUMBERS}


@pytest.mark.parametrize("file", ["state.json", "tensors.safetensors"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(file: str, tmp_path: Path) -> None:
    saves = Checkpoints(tmp_path / "c", "run")
    for step in (1, 2):
        saves.save(step, {"w": torch.full((3,), float(step))}, {"note": step})
    damaged = tmp_path / "c" / "step-2" / file
    damaged.write_bytes(damaged.read_bytes()[:20])
    saved = saves.latest()
    assert saved is not None
    assert (saved.step, saved.tensors["w"].tolist()) == (1, [1.0, 1.0, 1.0])
    (tmp_path / "c" / "step-1" / file).write_bytes(b"")
    with pytest.raises(ProjectError, match="can be read"):
        saves.latest()
