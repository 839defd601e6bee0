"""Dialogues found in raw text: precision and recall on documents written by hand, and what holds for any text."""

from __future__ import annotations

from collections import Counter

import pytest
from further_documents import NO_TALK as NO_TALK_AT_ALL
from further_documents import TALK
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_documents import NAMES, NEGATIVES, POSITIVES, QUESTIONS

from heed.dialogues.finding import (
    NO_TALK,
    ONE_SPEAKER,
    TOO_FEW,
    TOO_LONG,
    Dialogue,
    Finder,
    pairs_of,
)
from heed.dialogues.labels import label_of


def found_in(text: str, **options: int) -> list[Dialogue]:
    return list(Finder(**options).lines(text.splitlines()))


def pairs_in(text: str) -> list[tuple[str, str]]:
    return [
        (" ".join(asked.split()), " ".join(answered.split()))
        for dialogue in found_in(text)
        for asked, answered in pairs_of(dialogue)
    ]


@pytest.mark.parametrize("name", sorted(POSITIVES))
def test_each_style_of_dialogue_is_found_pair_by_pair(name: str) -> None:
    text, expected = POSITIVES[name]
    assert pairs_in(text) == expected


@pytest.mark.parametrize("name", sorted(NEGATIVES))
def test_what_only_looks_like_a_dialogue_is_left_out(name: str) -> None:
    assert pairs_in(NEGATIVES[name]) == []


def test_precision_and_recall_on_all_documents_in_one_file() -> None:
    """One after the other with a rule between, nothing of one is taken for a part of another."""
    order = sorted([*POSITIVES, *NEGATIVES])
    texts = {name: POSITIVES[name][0] if name in POSITIVES else NEGATIVES[name] for name in order}
    text = "\n* * *\n".join(texts.values())
    found, expected = (
        Counter(pairs_in(text)),
        Counter(p for name in order if name in POSITIVES for p in POSITIVES[name][1]),
    )
    right = sum((found & expected).values())
    assert right / sum(found.values()) >= 0.95
    assert right / sum(expected.values()) >= 0.9


def test_on_further_documents_nothing_is_found_where_nobody_talks_and_most_pairs_elsewhere() -> None:
    found = {name: len(pairs_in(text)) for name, (text, _) in TALK.items()}
    assert all(found[name] <= expected for name, (_, expected) in TALK.items()), found
    assert sum(found.values()) / sum(expected for _, expected in TALK.values()) >= 0.95, found
    assert {name for name, text in NO_TALK_AT_ALL.items() if pairs_in(text)} == set()


def test_who_asks_is_the_user_whoever_begins() -> None:
    text = "Guide: Welcome to the tower.\nPim: How high is it?\nGuide: Ninety metres.\nPim: Who built it?\n"
    text += "Guide: Nobody knows.\nPim: When was it built?\nGuide: We only know that it was old in 1300.\n"
    (dialogue,) = found_in(text)
    assert dialogue.answerer == "guide"
    assert [message["role"] for message in dialogue.messages] == ["user", "assistant"] * 3
    assert dialogue.messages[0]["content"] == "How high is it?"
    turned = found_in("A: Hello.\nB: Who are you?\nA: I am A.\nB: What do you want?\nA: Nothing.\nB: Then go.\n")
    assert turned[0].messages[-1] == {"role": "assistant", "content": "Then go."}


def test_third_speakers_and_two_turns_of_one_cut_a_dialogue() -> None:
    left: Counter[str] = Counter()
    text = NAMES + "Carl: Are you coming?\n" + NAMES.replace("Anna", "Dora")
    assert [len(one.turns) for one in Finder(left_out=left).lines(text.splitlines())] == [6, 6]
    assert (
        list(Finder(left_out=left).lines("Anna: One, you see.\nBen: Two.\nBen: Three.\nAnna: Four.\n".splitlines()))
        == []
    )
    assert left == {TOO_FEW: 2}
    assert len(found_in("Anna: One, you see.\nBen: Two, I see.\nAnna: And you?\nBen: Me?\n", fewest=4)) == 1


def test_why_stretches_are_left_out_is_counted() -> None:
    left: Counter[str] = Counter()
    finder = Finder(left_out=left)
    assert not list(finder.lines(NEGATIVES["people"].splitlines()))
    assert not list(finder.lines(NEGATIVES["books"].splitlines()))
    assert not list(finder.lines(NAMES.replace("Then look", "Then look " + "far " * 6000).splitlines()))
    assert left == {NO_TALK: 1, ONE_SPEAKER: 1, TOO_LONG: 1}


def test_a_long_dialogue_is_given_in_pieces_and_forgotten() -> None:
    lines = (line.replace(": ", f": {number}, ") for number in range(500) for line in NAMES.splitlines())
    finder, turns = Finder(), 0
    for line_number, line in enumerate(lines, 1):
        for dialogue in finder.line(line, line_number):
            turns += len(dialogue.turns)
            assert len(dialogue.turns) <= 200
        assert len(finder._turns) <= 200
    turns += sum(len(dialogue.turns) for dialogue in finder.end())
    assert turns == 3000


@pytest.mark.parametrize(
    ("line", "speaker"),
    [
        ("Q: Why?", "q"),
        ("Q12. Why?", "q"),
        ("Answer: so", "a"),
        ("Dr. J. Smith: so", "dr. j. smith"),
        ("Maria de la Cruz: so", "maria de la cruz"),
        ("  > Speaker 2 (laughs): so", "speaker 2"),
        ("user: so", "user"),
        ("[00:01:02] Jean-Luc: so", "jean-luc"),
        ("O'Neil: so", "o'neil"),
        ("张三：你好", "张三"),
        ("10:30: arrival", None),
        ("https://example.org", None),
        ("He went home and said: so", None),
        ("return: 1", None),
        ("John 3:16 For so", None),
        ("Smith, J.: On rivers", None),
        ("Note: so", None),
        ("Ms. Price: so", "ms. price"),
        ("Price: so", None),
        ("Q   so", "q"),
        ("2. Q: so", "q"),
        ("12/03/2024, 18:01 - Ira: so", "ira"),
        ("<mira> so", "mira"),
        ("<b> so </b>", None),
        ("w" * 100_000, None),
        ("Ann - " * 50_000, "ann"),
        ("a sentence", None),
        ("", None),
    ],
)
def test_labels(line: str, speaker: str | None) -> None:
    found = label_of(line)
    assert (found and found.speaker) == speaker


words = st.sampled_from(
    [
        "you",
        "I",
        "we",
        "see",
        "go",
        "yes",
        "no",
        "how",
        "what",
        "old",
        "tree?",
        "house.",
        "river,",
        "stone!",
        "Anna:",
        "Q.",
        "note:",
    ]
)
said = st.lists(words, min_size=0, max_size=8).map(" ".join)
names = st.sampled_from(["Anna", "Ben", "Carl", "Q", "A", "Interviewer", "RUTH", "Note", "", "10:30"])
separators = st.sampled_from([": ", ". ", " - ", ":", "\n", " ", "\r\n"])
pieces = st.tuples(names, separators, said, st.sampled_from(["\n", "\n\n", "\r\n", "\n\n\n"])).map("".join)


@given(st.lists(pieces, max_size=30), st.integers(2, 6))
@settings(max_examples=150, deadline=None)
def test_order_is_kept_and_nothing_is_invented(parts: list[str], fewest: int) -> None:
    """Each turn is a piece of its document but for white space, and turns stand in the document's order."""
    text = "".join(parts)
    squeezed, place = "".join(text.split()), 0
    for dialogue in found_in(text, fewest=fewest):
        assert len(dialogue.messages) >= 2
        assert len({turn.speaker for turn in dialogue.turns}) == 2
        assert [m["role"] for m in dialogue.messages] == ["user", "assistant"] * (len(dialogue.messages) // 2)
        for turn in dialogue.turns:
            at = squeezed.find("".join(turn.text.split()), place)
            assert at >= place, turn
            place = at + len("".join(turn.text.split()))


@given(st.text(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read(text: str) -> None:
    for dialogue in found_in(text, fewest=2):
        assert all(turn.text.strip() for turn in dialogue.turns)


def test_line_ends_do_not_matter() -> None:
    for text in (NAMES, QUESTIONS):
        crlf = text.replace("\n", "\r\n")
        lines = [line + "\r" for line in text.split("\n")]
        assert pairs_in(crlf) == pairs_in(text)
        given_ = [pair for one in Finder().lines(lines) for pair in pairs_of(one)]
        assert given_ == [pair for one in found_in(text) for pair in pairs_of(one)]
