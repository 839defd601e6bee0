"""Tables learn what can be worked out on paper: the values of a chain, the arm of a bandit, and the gradient of an expected return."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from heed.cli import app
from heed.errors import ConfigError
from heed.teaching.tables import World, bandit, chain, q_learning, reinforce

GAMMA = 0.9
LEFT, RIGHT = 0, 1
SEEDS = range(5)


def chain_on_paper() -> np.ndarray:
    """Walking right from state k takes 4 - k moves before the last, which brings 1; left of state 1 lies 0.2."""
    worth = np.zeros((5, 2))
    for k in range(5):
        worth[k, RIGHT] = GAMMA ** (4 - k)
        worth[k, LEFT] = 0.2 if k == 0 else GAMMA * GAMMA ** (4 - (k - 1))
    return worth


def test_value_iteration_finds_what_the_chain_is_worth_on_paper() -> None:
    np.testing.assert_allclose(chain().optimum(), chain_on_paper(), atol=1e-9)
    assert bandit().optimum().tolist() == [[0.1, 0.5, 0.9, 0.4]]


def test_a_better_policy_there_is_not() -> None:
    """All 32 policies of the chain that always do the same, by walking: the greedy one of the optimum is best from everywhere."""
    world = chain()

    def walked(policy: tuple[int, ...], state: int) -> float:
        total, discount = 0.0, 1.0
        for _ in range(200):
            total += discount * world.brings[state][policy[state]]
            discount *= GAMMA
            state = world.leads[state][policy[state]]
            if state < 0:
                break
        return total

    best = world.optimum().max(1)
    for state in range(5):
        assert max(walked(p, state) for p in itertools.product((0, 1), repeat=5)) == pytest.approx(best[state])


@pytest.mark.parametrize("seed", SEEDS)
def test_q_learning_ends_at_the_optimum_of_the_chain(seed: int) -> None:
    learned = q_learning(chain(), 1500, seed, epsilon=0.7)
    np.testing.assert_allclose(learned.tables[-1], chain_on_paper(), atol=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_q_learning_values_the_arms_of_a_bandit(seed: int) -> None:
    learned = q_learning(bandit(), 3000, seed, rate=0.05, epsilon=1.0)
    np.testing.assert_allclose(learned.tables[-1], bandit().optimum(), atol=0.06)


@pytest.mark.parametrize("seed", SEEDS)
def test_reinforce_ends_with_the_best_action_of_every_state_and_arm(seed: int) -> None:
    on_chain = reinforce(chain(), 3000, seed).tables[-1]
    assert (on_chain[2:, RIGHT] > 0.95).all()
    assert (on_chain[:, RIGHT] > 0.5).all()
    assert reinforce(bandit(), 1500, seed).tables[-1][0, 2] > 0.95


def test_reinforce_follows_the_gradient_of_the_expected_return() -> None:
    """Two arms without noise, worth 0 and 1, one episode: the mean step over many seeds is rate times p (1 - p)."""
    world = World(("-",), ("no", "yes"), ((-1, -1),), ((0.0, 1.0),))
    moved = []
    for seed in range(4000):
        table = reinforce(world, 1, seed, rate=0.01).tables[-1][0]
        moved.append(float(np.log(table[1] / table[0])))
    # The step is (1 - p) up for yes and p down for no of it: log-odds move by rate, and yes is drawn half the time.
    assert np.mean(moved) == pytest.approx(0.01 * 0.5, rel=0.1)


def test_the_same_seed_learns_the_same_and_a_look_changes_nothing() -> None:
    for learn in (q_learning, reinforce):
        once, again = learn(chain(), 50, 3), learn(chain(), 50, 3, looks=(1, 7))
        assert once.returns == again.returns
        assert (once.episodes, again.episodes) == ([50], [1, 7, 50])
        np.testing.assert_array_equal(once.tables[-1], again.tables[-1])


@pytest.mark.parametrize("world", ["chain", "bandit"])
@pytest.mark.parametrize("by", ["q", "reinforce"])
def test_the_command_shows_how_the_table_fills(world: str, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (app(["teach", world, "--by", by, "--episodes", "200"], standalone_mode=False) or 0) == 0
    shown = capsys.readouterr().out
    assert "after so many episodes" in shown
    assert [line.split()[0] for line in shown.splitlines()[3:10]] == ["1", "3", "10", "30", "100", "200", "optimum"]
    assert "rewards  " in shown
    with pytest.raises(ConfigError, match="Take chain or bandit"):
        app(["teach", "mars"], standalone_mode=False)
    with pytest.raises(ConfigError, match="Take q or reinforce"):
        app(["teach", world, "--by", "luck"], standalone_mode=False)
