"""Small problems whose best answer is known: a chain of five states, and shortest paths in a random graph.

A state is a text so far, a move is a letter. The graph is that of the offline problem of Chen et al. 2021, "Decision Transformer",
section 2: walks by chance are logged, and the shortest path has to be put together from parts of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

NODES = 8
GOAL = 0
LONGEST = 6
"""Moves of a walk."""

# The chain: a letter to the left, one to the right, or the end of the text; the worth of the place it ends at, less each move.
LEFT, RIGHT, STOP = 0, 1, 2
PLACES = (0.4, 0.0, 0.0, 0.0, 1.0)
MOVES = 3
COST = 0.05


def chain_reward(moves: Sequence[int]) -> float:
    """Of a text of moves, from the middle of the chain."""
    place = 2
    for move in moves:
        place = min(4, max(0, place + (move == RIGHT) - (move == LEFT)))
    return PLACES[place] - COST * len(moves)


@lru_cache(None)
def chain_q(moves: tuple[int, ...], move: int) -> float:
    """What a move is worth after others, if the best follow: Bellman's equation, from the end."""
    taken = (*moves, move)
    if move == STOP or len(taken) == MOVES:
        return chain_reward(taken)
    return max(chain_q(taken, follows) for follows in (LEFT, RIGHT, STOP))


def graph(seed: int) -> dict[int, tuple[int, ...]]:
    """Where each node leads; from each the goal can be reached."""
    rng = random.Random(seed)
    while True:
        edges = {n: tuple(sorted(rng.sample([m for m in range(NODES) if m != n], 2))) for n in range(1, NODES)}
        edges[GOAL] = ()
        far = distances(edges)
        if len(far) == NODES and max(far.values()) >= 3:
            return edges


def distances(edges: dict[int, tuple[int, ...]]) -> dict[int, int]:
    """Moves from each node to the goal at least."""
    far = {GOAL: 0}
    while True:
        new = {
            n: 1 + min(far[m] for m in to if m in far)
            for n, to in edges.items()
            if n not in far and far.keys() & set(to)
        }
        if not new:
            return far
        far |= new


def walks(edges: dict[int, tuple[int, ...]], count: int, seed: int) -> list[tuple[int, tuple[int, ...]]]:
    """Walks by chance: the start, and the nodes gone to, until the goal or ``LONGEST`` moves."""
    rng, found = random.Random(seed), []
    for number in range(count):
        start = place = 1 + number % (NODES - 1)
        gone: list[int] = []
        while place != GOAL and len(gone) < LONGEST:
            place = rng.choice(edges[place])
            gone.append(place)
        found.append((start, tuple(gone)))
    return found


def walk_reward(edges: dict[int, tuple[int, ...]], start: int, gone: Sequence[int]) -> float:
    """1 for a shortest path to the goal, less by each detour, -1 for none or for a move that there is not."""
    here = start
    for node in gone:
        if node not in edges[here]:
            return -1.0
        here = node
    if here != GOAL or not gone:
        return -1.0
    return 1.0 - 2 * (len(gone) - distances(edges)[start]) / LONGEST
