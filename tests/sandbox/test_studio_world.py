"""The studio to try: something of every kind, people with faults that show, and work left for whoever comes."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, select

from heed.feedback import asked, queue
from heed.feedback.kinds import KINDS
from heed.feedback.showings import Rater
from heed.feedback.store import Store
from heed.feedback.studio_schema import answers, flags, items
from heed.people import accounts, audit, exclusions, guidelines
from heed.sandbox import studio_texts, studio_world
from heed.sandbox.pictures import COLOURS, bar_chart, bouncing_ball
from heed.sandbox.studio_raters import CHARACTERS
from heed.web.media_formats import is_gif, is_png

NOW = datetime(2026, 5, 4, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    kept: list[bytes] = []

    def keep(content: bytes) -> str:
        kept.append(content)
        return f"{len(kept):032x}.png"

    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('world') / 'w.db'}") as store:
        studio_world.fill(store, keep, NOW)
        assert all(is_png(content) or is_gif(content) for content in kept)
        with store.reading() as connection:
            yield connection


def rows(connection: Connection, query: Any) -> list[Any]:
    return list(connection.execute(query))


def test_every_kind_of_feedback_is_asked_for_and_given(world: Connection) -> None:
    forms = [question.form for question in asked.questions_asked(world)]
    assert {field.kind for form in forms for field in form.fields} == set(KINDS)
    assert any(len(form.fields) > 2 for form in forms)
    purposes = {row.purpose for row in rows(world, select(answers.c.purpose))}
    assert purposes >= {"work", "qualification", "adjudication"}
    assert {row.purpose for row in rows(world, select(items.c.purpose))} == {
        "work",
        "gold",
        "training",
        "qualification",
    }
    assert rows(world, select(flags.c.id))


def test_explanations_name_what_a_text_says_and_no_place() -> None:
    shown = (*studio_texts.GOLD_PAIRS, *studio_texts.TRAINING_PAIRS, *studio_texts.TEST_PAIRS)
    assert all(one.explanation for one in shown)
    places = re.compile(r"\b(first|second|left|right|former|latter|(?<!^)[AB])\b")
    assert [one.explanation for one in shown if places.search(one.explanation)] == []


def test_answers_are_of_several_days_and_none_is_of_the_future(world: Connection) -> None:
    times = [row.created for row in rows(world, select(answers.c.created))]
    assert len({time.date() for time in times}) >= 5
    assert max(times) < NOW


def test_the_faults_of_raters_show_in_what_they_did(world: Connection) -> None:
    lefts, seconds = defaultdict(list), defaultdict(list)
    for row in rows(world, select(answers)):
        seconds[row.rater].append(row.seconds)
        if row.chose_left is not None:
            lefts[row.rater].append(row.chose_left)
    share = {name: sum(chosen) / len(chosen) for name, chosen in lefts.items() if len(chosen) > 10}
    assert max(share, key=lambda name: share[name]) == "Paulo"
    assert share["Paulo"] > 0.7
    typical = {name: sorted(taken)[len(taken) // 2] for name, taken in seconds.items() if len(taken) > 10}
    assert min(typical, key=lambda name: typical[name]) == "Sam"
    assert exclusions.excluded(world) == {"Sam"}


def test_a_newcomer_finds_something_new_of_every_question(world: Connection) -> None:
    assert guidelines.needs_acknowledgement(world, studio_world.RATER)
    engine = world.engine.execution_options(heed_writes=True)
    with engine.connect() as connection:
        for question in asked.questions_asked(connection):
            claimed = queue.claim(connection, Rater(studio_world.RATER, "north"), question.id, NOW, random.Random(1))
            assert isinstance(claimed, queue.Claimed), question.name
        connection.rollback()


def test_the_people_are_there_without_any_password_and_the_log_is_whole(world: Connection) -> None:
    found = {account.name: account for account in accounts.everybody(world)}
    assert {found[name].role for name in (studio_world.ADMIN, studio_world.LEAD, studio_world.RATER)} == {
        "admin",
        "lead",
        "rater",
    }
    assert {one.name for one in CHARACTERS} < set(found)
    assert not any(account.has_password for account in found.values())
    assert audit.verify(world) == []


def test_it_needs_no_torch() -> None:
    program = "import sys, heed.sandbox.studio_world; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers"} & set(loaded)


def test_a_chart_is_a_png_with_bars_of_its_heights() -> None:
    width, height = 100, 120
    data = bar_chart((0.25, 1.0), width=width, height=height)
    assert is_png(data)
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    pixels = zlib.decompress(data[start + 4 : start + 4 + length])
    columns = [[pixels[y * (width + 1) + 1 + x] for y in range(height)] for x in (25, 75)]
    assert [column.count(2) for column in columns] == [pytest.approx(0.25 * 80, abs=1), pytest.approx(80, abs=1)]


def test_a_clip_is_a_gif_whose_pictures_unpack_to_what_was_drawn() -> None:
    frames, width, height = 5, 160, 120
    data = bouncing_ball(bounces=True, frames=frames)
    assert is_gif(data)
    pictures = [unpacked(block, width * height) for block in picture_blocks(data)]
    assert len(pictures) == frames
    for picture in pictures:
        assert len(picture) == width * height
        assert set(picture) <= set(range(len(COLOURS)))
    middles = [sum(k // width for k, value in enumerate(p) if value == 2) / p.count(2) for p in pictures]
    assert middles[2] > middles[0]
    assert middles[-1] < middles[2] + 40


def picture_blocks(data: bytes) -> Iterator[bytes]:
    """Compressed data of every picture of a GIF with a table of four colours."""
    place = 13 + 12
    while data[place] != 0x3B:
        is_picture = data[place] == 0x2C
        place += 11 if is_picture else 2
        found = b""
        while size := data[place]:
            found += data[place + 1 : place + 1 + size]
            place += 1 + size
        place += 1
        if is_picture:
            yield found


def unpacked(data: bytes, length: int) -> list[int]:
    """GIF's LZW undone, as its specification says it, with codes of 2 bits to begin with."""
    bits, size, place = int.from_bytes(data, "little"), 3, 0
    table: list[list[int]] = [[k] for k in range(4)] + [[], []]
    out: list[int] = []
    before: list[int] | None = None
    while True:
        code = bits >> place & (1 << size) - 1
        place += size
        if code == 4:
            table, size, before = [[k] for k in range(4)] + [[], []], 3, None
            continue
        if code == 5:
            return out
        entry = table[code] if code < len(table) else [*(before or []), (before or [0])[0]]
        out += entry
        if before is not None and len(table) < 4096:
            table.append([*before, entry[0]])
            if len(table) == 1 << size and size < 12:
                size += 1
        before = entry
        assert len(out) <= length
