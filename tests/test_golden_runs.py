"""Every algorithm through the command line: the trajectory that is on record, and runs that must be one run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from golden_runs import KEPT, prepare, run
from heed.algorithms import ALGORITHMS

# Sums in another order on another processor; a token that another rounding draws would show as much more.
CLOSE = {"rel": 2e-3, "abs": 2e-3}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, threads = tmp_path_factory.mktemp("golden"), torch.get_num_threads()
    torch.set_num_threads(1)
    prepare(folder)
    yield folder
    torch.set_num_threads(threads)


def assert_one(some: list[dict[str, float]], other: list[dict[str, float]], *left_out: str) -> None:
    assert len(some) == len(other)
    for row, same in zip(some, other, strict=True):
        assert row.keys() == same.keys()
        for name in row.keys() - set(left_out):
            assert row[name] == pytest.approx(same[name], **CLOSE), name


# An actor is a process of its own, which takes seconds to start.
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name == "a3c" else name for name in ALGORITHMS]


@pytest.mark.parametrize("name", NAMES)
def test_the_trajectory_is_the_one_on_record(place: Path, name: str) -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert kept.keys() == ALGORITHMS.keys()
    assert_one(run(place, name), kept[name])


@pytest.mark.parametrize(
    ("one", "sets", "other", "same"),
    [
        pytest.param("ppo", ("epochs=1", "clip_ratio=1e9"), "a2c", (), id="ppo of one epoch without clipping is a2c"),
        pytest.param("a3c", ("staleness=0",), "a2c", (), id="a3c without staleness is a2c"),
        pytest.param("cdpo", ("label_smoothing=0",), "dpo", (), id="cdpo that trusts every judgment is dpo"),
        pytest.param("listwise_dpo", (), "dpo", (), id="listwise dpo of two is dpo"),
        pytest.param("grpo", ("minibatches=1",), "grpo", ("tokens_per_microbatch=32",), id="grpo in any split"),
        pytest.param("ppo", (), "ppo", ("tokens_per_microbatch=32",), id="ppo in any split"),
        pytest.param("dpo", (), "dpo", ("tokens_per_microbatch=16",), id="dpo in any split"),
        pytest.param("dqn", (), "dqn", ("tokens_per_microbatch=32",), id="dqn in any split"),
        pytest.param("rloo", (), "rloo", ("gradient_checkpointing=true",), id="rloo that recomputes"),
    ],
)
def test_runs_that_are_one_run(place: Path, one: str, sets: tuple[str, ...], other: str, same: tuple[str, ...]) -> None:
    first = run(place, one, *sets, out=f"one-{one}-{'-'.join(sets)}")
    second = run(place, other, *same, out=f"other-{one}-{other}-{'-'.join(same)}")
    # Ratio times advantage and log-probability times advantage have one gradient, not one value.
    assert_one(first, second, *(["policy_loss"] if (one, other) == ("ppo", "a2c") else []))


def test_before_the_first_update_dpo_has_the_loss_of_a_coin_and_ratios_are_one(place: Path) -> None:
    assert run(place, "dpo", out="coin")[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert run(place, "ipo", "beta=0.25", out="ipo-coin")[0]["loss"] == pytest.approx((1 / (2 * 0.25)) ** 2, rel=1e-4)
    for row in run(place, "reinforce", out="ones"):
        assert row["ratio_max"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("bound", [0.002, 0.02])
def test_a_step_of_trpo_keeps_its_bound(place: Path, bound: float) -> None:
    steps = run(place, "trpo", f"trust_region={bound}", out=f"trpo-{bound}")
    assert all(0 < row["update_kl"] <= bound * 1.01 for row in steps)


@pytest.mark.parametrize(
    ("name", "sets", "why"),
    [
        ("grpo", ("samples_per_prompt=1",), "every advantage is 0"),
        ("rloo", ("epochs=2",), "right only for the policy that sampled"),
        ("a2c", ("staleness=1",), "of an earlier one"),
        ("online_dpo", ("kl_coefficient=0",), "learns nothing"),
        ("dpo", ("margin=1",), "has no margin"),
        ("dqn", ("lora.rank=4",), "leave lora.rank at 0"),
    ],
)
def test_what_cannot_work_is_refused(
    place: Path, capfd: pytest.CaptureFixture[str], name: str, sets: tuple[str, ...], why: str
) -> None:
    with pytest.raises(RuntimeError, match=f"--algorithm {name}"):
        run(place, name, *sets, out=f"refused-{name}")
    assert why in capfd.readouterr().err
    assert not (place / f"refused-{name}").exists()
