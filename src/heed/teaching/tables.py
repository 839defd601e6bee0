"""Q-learning and REINFORCE on worlds whose every state fits on a screen, and the values that they must find.

Sutton and Barto 2018, "Reinforcement Learning: An Introduction" (RL below). What ``heed train policy`` does with a language model,
these do with a table: there a state is a text so far and an action the next token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

_SETTLED = 1e-12
_MOST_MOVES = 1000
"""Moves of an episode: one that never ends teaches nothing, and a policy may run in circles for long."""


@dataclass(frozen=True)
class World:
    """A world of few states: what each action leads to and brings.

    Attributes:
        states, actions: their names.
        leads: [states, actions], where each action leads; -1 ends the episode.
        brings: [states, actions], the mean reward of each action.
        noise: standard deviation of a reward around its mean.
        gamma: discount a move.
        start: state in which an episode begins.
    """

    states: tuple[str, ...]
    actions: tuple[str, ...]
    leads: tuple[tuple[int, ...], ...]
    brings: tuple[tuple[float, ...], ...]
    noise: float = 0.0
    gamma: float = 1.0
    start: int = 0

    def move(self, state: int, action: int, rng: np.random.Generator) -> tuple[float, int]:
        """The reward of an action, and the next state."""
        reward = self.brings[state][action]
        if self.noise:
            reward += float(rng.normal(0.0, self.noise))
        return reward, self.leads[state][action]

    def optimum(self) -> Table:
        """Q of every action if the best follow [states, actions]: value iteration until nothing changes (RL, section 4.4)."""
        q = np.zeros((len(self.states), len(self.actions)))
        while True:
            new = np.array(self.brings) + self.gamma * _values_behind(np.array(self.leads), q)
            if np.abs(new - q).max() < _SETTLED:
                return new
            q = new


def _values_behind(leads: NDArray[np.int64], q: Table) -> Table:
    """The best that can be had in the state that each action leads to; 0 behind the end."""
    best = np.append(q.max(1), 0.0)  # -1 is the place that was appended
    return np.asarray(best[leads])


def chain() -> World:
    """Five states in a row: a small reward at the left end, a large one at the right, and a move costs a tenth of its worth."""
    places = range(5)
    leads = tuple((place - 1, place + 1 if place < 4 else -1) for place in places)
    brings = tuple((0.2 if place == 0 else 0.0, 1.0 if place == 4 else 0.0) for place in places)
    return World(("1", "2", "3", "4", "5"), ("left", "right"), leads, brings, gamma=0.9, start=2)


def bandit() -> World:
    """One state and four arms that bring more or less, each time a little other than the last; one pull is an episode."""
    return World(("-",), ("a", "b", "c", "d"), ((-1, -1, -1, -1),), ((0.1, 0.5, 0.9, 0.4),), noise=0.3)


WORLDS: dict[str, Callable[[], World]] = {"chain": chain, "bandit": bandit}


@dataclass(frozen=True)
class Learned:
    """What was learned after each of some episodes.

    Attributes:
        episodes: how many had been lived through (count).
        tables: Q values, or the probabilities of the policy, then; each [states, actions].
        returns: the discounted reward of every episode.
    """

    episodes: list[int]
    tables: list[Table]
    returns: list[float]


def q_learning(
    world: World, episodes: int, seed: int, rate: float = 0.5, epsilon: float = 0.3, looks: Sequence[int] = ()
) -> Learned:
    """Tabular Q-learning, exploring by epsilon-greedy: Q(s, a) += rate (r + gamma max Q(s', .) - Q(s, a)).

    Watkins and Dayan 1992, "Q-learning"; RL, section 6.5. The rate of a pair falls with the visits to it, as Robbins and Monro ask
    for: rate / (1 + (visits - 1) / 20).

    Args:
        episodes: how many (count).
        seed: the same gives the same.
        rate: of the first visits (0 to 1).
        epsilon: share of actions left to chance.
        looks: after which episodes the table is kept; the last always is.
    """
    rng = np.random.default_rng(seed)
    q = np.zeros((len(world.states), len(world.actions)))
    visits = np.zeros_like(q)
    learned = Learned([], [], [])

    def act(state: int) -> int:
        if rng.random() < epsilon:
            return int(rng.integers(len(world.actions)))
        return int(rng.choice(np.flatnonzero(q[state] == q[state].max())))

    def episode() -> float:
        state, total, discount = world.start, 0.0, 1.0
        for _ in range(_MOST_MOVES):
            action = act(state)
            reward, after = world.move(state, action, rng)
            visits[state, action] += 1
            step = rate / (1 + (visits[state, action] - 1) / 20)
            target = reward + (world.gamma * q[after].max() if after >= 0 else 0.0)
            q[state, action] += step * (target - q[state, action])
            total, discount, state = total + discount * reward, discount * world.gamma, after
            if after < 0:
                break
        return total

    return _watched(learned, episodes, looks, episode, lambda: q.copy())


def reinforce(world: World, episodes: int, seed: int, rate: float = 0.2, looks: Sequence[int] = ()) -> Learned:
    """REINFORCE with a baseline on a table of preferences: theta(s, .) += rate gamma^t (G_t - b(s)) grad log pi.

    Williams 1992; RL, section 13.4. The baseline of a state is the running mean of the returns from it. The policy is softmax(theta).

    Args:
        episodes, seed, looks: as for :func:`q_learning`; the tables are probabilities.
        rate: step of the preferences.
    """
    rng = np.random.default_rng(seed)
    theta = np.zeros((len(world.states), len(world.actions)))
    baseline, seen = np.zeros(len(world.states)), np.zeros(len(world.states))

    def policy() -> Table:
        odds = np.exp(theta - theta.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True))

    def episode() -> float:
        state, path = world.start, []
        chances = policy()
        for _ in range(_MOST_MOVES):
            action = int(rng.choice(len(world.actions), p=chances[state]))
            reward, after = world.move(state, action, rng)
            path.append((state, action, reward))
            state = after
            if after < 0:
                break
        to_go = 0.0
        for time in reversed(range(len(path))):
            state, action, reward = path[time]
            to_go = reward + world.gamma * to_go
            grad = -chances[state]
            grad[action] += 1
            theta[state] += rate * world.gamma**time * (to_go - baseline[state]) * grad
            seen[state] += 1
            baseline[state] += (to_go - baseline[state]) / seen[state]
        return to_go

    return _watched(Learned([], [], []), episodes, looks, episode, policy)


def _watched(
    learned: Learned, episodes: int, looks: Sequence[int], episode: Callable[[], float], table: Callable[[], Table]
) -> Learned:
    """Live through episodes and keep the table after those that are looked at."""
    for number in range(1, episodes + 1):
        learned.returns.append(episode())
        if number in looks or number == episodes:
            learned.episodes.append(number)
            learned.tables.append(table())
    return learned


METHODS: dict[str, Callable[..., Learned]] = {"q": q_learning, "reinforce": reinforce}
