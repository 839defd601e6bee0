"""The replay buffer: what it keeps, what falls out, and the way through a checkpoint."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heed.train.replay import Episode, ReplayBuffer

EPISODES = st.lists(
    st.builds(
        Episode,
        st.lists(st.integers(0, 200_000), min_size=1, max_size=4).map(tuple),
        st.lists(st.integers(0, 200_000), min_size=1, max_size=5).map(tuple),
        st.floats(-100, 100),
    ),
    max_size=12,
)


@given(first=EPISODES, second=EPISODES, capacity=st.integers(1, 10))
def test_the_newest_are_kept_and_the_others_counted(first: list[Episode], second: list[Episode], capacity: int) -> None:
    buffer = ReplayBuffer(capacity)
    buffer.add(first)
    buffer.add(second)
    kept = [*first, *second][-capacity:]
    assert len(buffer) == len(kept)
    assert buffer.fallen_out == len(first) + len(second) - len(kept)
    drawn = buffer.draw(100, 1)
    assert sorted(drawn) == sorted(kept)


@given(episodes=EPISODES, capacity=st.integers(1, 10), seed=st.integers(0, 2**62))
def test_a_checkpoint_brings_back_the_same_draws(episodes: list[Episode], capacity: int, seed: int) -> None:
    buffer, other = ReplayBuffer(capacity), ReplayBuffer(capacity)
    buffer.add(episodes)
    other.add([Episode((1,), (2,), 3.0)])
    other.load_state(buffer.state())
    assert other.draw(5, seed) == buffer.draw(5, seed)
    assert other.fallen_out == buffer.fallen_out
    for one in (buffer, other):
        one.add([Episode((7,), (8,), 9.0)])
    assert other.draw(100, seed) == buffer.draw(100, seed)


def test_draws_are_without_repeats_and_differ_by_seed() -> None:
    buffer = ReplayBuffer(50)
    buffer.add(Episode((n,), (n,), float(n)) for n in range(50))
    draws = [buffer.draw(10, seed) for seed in range(40)]
    assert all(len(set(drawn)) == 10 for drawn in draws)
    assert len({tuple(drawn) for drawn in draws}) == 40
    times = [sum(n == episode.prompt[0] for drawn in draws for episode in drawn) for n in range(50)]
    assert min(times) > 0
    assert max(times) < 25  # 8 on average
