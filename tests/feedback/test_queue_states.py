"""Whatever raters do in whatever order, what must hold holds after every step."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from judged_studio import LEFT, RIGHT, TIE, Studio, row

from heed.errors import ConflictError, MissingError
from heed.feedback import items, leases
from heed.feedback.answers import standing_answer
from heed.feedback.forms import to_shown_order
from heed.feedback.queue import Claimed
from heed.feedback.showings import form_of, showing_of
from heed.feedback.store import Store
from heed.people import exclusions

RATERS = (("ann", "east"), ("bob", "east"), ("cid", "west"), ("dee", ""))
WHO = st.sampled_from(range(len(RATERS)))
WHICH = st.integers(0, 5)
ANSWERS = st.sampled_from([LEFT, RIGHT, TIE])


def machine(fresh) -> type[RuleBasedStateMachine]:
    """The machine over databases that ``fresh`` makes."""

    class Raters(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.store = Store.open(fresh())
            self.studio = Studio(self.store, rng=random.Random(5))
            self.question = self.studio.ask(
                overlap=2, gold_rate=0.15, repeat_rate=0.2, lease_minutes=10, group_quota={"east": 1}
            )
            known = {"better": {"choice": "a"}}
            gold = [row(100 + n, purpose="gold", expected=known) for n in range(2)]
            self.items = self.studio.add(self.question, [row(n) for n in range(5)] + gold)
            self.raters = [self.studio.rater(*who) for who in RATERS]
            # What each rater was told: the showing's id, and the answer that was acknowledged.
            self.shown: dict[int, list[str]] = {who: [] for who in range(len(RATERS))}
            self.acknowledged: dict[str, dict] = {}

        def teardown(self) -> None:
            self.store.close()

        def some(self, who: int, which: int) -> str | None:
            found = self.shown[who]
            return found[which % len(found)] if found else None

        @rule(who=WHO, ahead=st.integers(1, 2))
        def claims(self, who: int, ahead: int) -> None:
            claimed = self.studio.claim(self.raters[who], self.question, ahead)
            if isinstance(claimed, Claimed):
                assert sum(not showing.reopened for showing in claimed.showings) <= 2
                for showing in claimed.showings:
                    if showing.id not in self.shown[who]:
                        self.shown[who].append(showing.id)

        @rule(who=WHO, which=WHICH, answer=ANSWERS)
        def answers(self, who: int, which: int, answer: dict) -> None:
            showing = self.some(who, which)
            if showing is None:
                return
            try:
                self.studio.answer(self.raters[who], showing, answer)
            except ConflictError:
                assert self.acknowledged.get(showing) != answer
            else:
                self.acknowledged[showing] = answer

        @rule(who=WHO, other=WHO, which=WHICH)
        def meddles(self, who: int, other: int, which: int) -> None:
            showing = self.some(other, which)
            if showing is not None and showing not in self.shown[who]:
                with pytest.raises(MissingError):
                    self.studio.answer(self.raters[who], showing, LEFT)

        @rule(who=WHO, which=WHICH)
        def skips(self, who: int, which: int) -> None:
            showing = self.some(who, which)
            if showing is not None:
                try:
                    self.studio.skip(self.raters[who], showing)
                except ConflictError:
                    assert showing in self.acknowledged

        @rule(who=WHO, which=WHICH)
        def renews(self, who: int, which: int) -> None:
            showing = self.some(who, which)
            if showing is not None:
                with contextlib.suppress(ConflictError):
                    self.store.write(lambda c: leases.renew(c, self.raters[who], showing, 1.0, self.studio.now))

        @rule(who=WHO)
        def undoes(self, who: int) -> None:
            try:
                showing = self.studio.undo(self.raters[who], self.question)
            except MissingError:
                return
            assert showing.id in self.acknowledged

        @rule(minutes=st.sampled_from([0.1, 4.0, 11.0, -3.0]))
        def time_passes(self, minutes: float) -> None:
            self.studio.later(minutes=minutes)

        @rule()
        def sweeps(self) -> None:
            self.studio.sweep()

        @rule(who=WHO)
        def is_paused(self, who: int) -> None:
            self.store.write(lambda c: leases.release(c, self.raters[who], self.studio.now))

        @rule(who=WHO, back=st.booleans())
        def is_excluded(self, who: int, back: bool) -> None:
            act = exclusions.include if back else exclusions.exclude
            self.store.write(lambda c: act(c, self.raters[who].name, "as told", "lead", self.studio.now))

        @rule(which=st.integers(0, 4), back=st.booleans())
        def is_withdrawn(self, which: int, back: bool) -> None:
            act = items.restore if back else items.withdraw
            self.store.write(lambda c: act(c, [self.items[which]]))

        @precondition(lambda self: self.acknowledged)
        @invariant()
        def what_was_acknowledged_is_there_once(self) -> None:
            with self.store.reading() as connection:
                for who, ids in self.shown.items():
                    for identity in ids:
                        if identity in self.acknowledged:
                            showing = showing_of(connection, self.raters[who], identity)
                            standing = standing_answer(connection, showing)
                            assert standing is not None
                            form = form_of(connection, showing)
                            said = to_shown_order(form, standing.answer, showing.shown_order)
                            assert said == self.acknowledged[identity]

        @invariant()
        def what_must_hold_holds(self) -> None:
            self.studio.check()

    return Raters


def test_whatever_raters_do_the_queue_stays_sound_on_sqlite(sqlite_url) -> None:
    fitting = settings(max_examples=30, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine(sqlite_url), settings=fitting)


def test_whatever_raters_do_the_queue_stays_sound_on_postgresql(postgresql_url) -> None:
    fitting = settings(max_examples=8, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine(postgresql_url), settings=fitting)
