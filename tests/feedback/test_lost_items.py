"""Leases that ran out: gold and repeated items are lost and come back as work is, so that nobody tells them apart by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from judged_studio import Studio, row
from sqlalchemy import update

from heed.errors import ConflictError
from heed.feedback import leases
from heed.feedback.queue import Claimed, Nothing
from heed.feedback.showings import Showing
from heed.feedback.studio_schema import items as items_table


@pytest.mark.parametrize("others_answer", [True, False])
def test_what_was_lost_comes_back_alike_whatever_it_is_for(studio: Studio, others_answer: bool) -> None:
    """Others cannot take a gold item away; it would come back when work does not, and so be known for what it is."""
    question = studio.ask(12, overlap=1, gold_rate=0.5, lease_minutes=10)
    known = {"better": {"choice": "a"}}
    studio.add(question, [row(n, purpose="gold", expected=known) for n in range(100, 112)])
    ann, bob = studio.rater("ann"), studio.rater("bob")
    claimed: list[Showing] = []
    while len({one.purpose for one in claimed}) < 2:
        held = studio.claim(ann, question, ahead=len(claimed) + 1)
        assert isinstance(held, Claimed)
        claimed = list(held.showings)
    studio.later(minutes=11)
    studio.sweep()
    if others_answer:
        studio.work_through(bob, question)
        assert isinstance(studio.claim(ann, question), Nothing)
        for showing in claimed:
            with pytest.raises(ConflictError, match="your time with it had run out"):
                studio.answer(ann, showing.id)
            with pytest.raises(ConflictError, match="your time with it had run out"):
                studio.store.write(lambda c, one=showing.id: leases.renew(c, ann, one, 1.0, studio.now))
    else:
        back: list[Showing] = []
        for count in range(1, len(claimed) + 1):
            held = studio.claim(ann, question, ahead=count)
            assert isinstance(held, Claimed)
            back = list(held.showings)
        assert [one.id for one in back] == [one.id for one in claimed]
        for showing in back:
            studio.answer(ann, showing.id)
    studio.check()


def test_a_lost_gold_item_follows_one_item_of_work(studio: Studio) -> None:
    question = studio.ask(2, overlap=1, gold_rate=1.0, lease_minutes=10)
    studio.add(question, [row(100, purpose="gold", expected={"better": {"choice": "a"}})])
    ann = studio.rater("ann")
    lost = studio.next(ann, question)
    assert lost is not None
    assert lost.purpose == "gold"
    studio.later(minutes=11)
    studio.sweep()
    studio.store.write(lambda c: c.execute(update(items_table).values(available=items_table.c.id == lost.stand_in)))
    assert studio.next(ann, question) == replace(lost, expires=studio.now + timedelta(minutes=10))
    studio.later(minutes=11)
    studio.sweep()
    studio.store.write(lambda c: c.execute(update(items_table).values(available=items_table.c.id != lost.stand_in)))
    back = studio.next(ann, question)
    assert back is None or back.id != lost.id
