"""Columns by what stands in the first line: names behind what platforms write, and a table of the other kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heed.errors import DataError
from heed.raters.duel_files import read_duels
from heed.raters.vote_files import read_votes

VOTES = [("i1", "ann", "good"), ("i1", "bob", "bad"), ("i2", "ann", "bad")]


def file(folder: Path, text: str) -> Path:
    path = folder / "table"
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    ("head", "read_from"),
    [
        (
            "INPUT:image,OUTPUT:result,GOLDEN:result,HINT:text,ASSIGNMENT:link,ASSIGNMENT:task_id,ASSIGNMENT:worker_id",
            {"item": "INPUT:image", "rater": "ASSIGNMENT:worker_id", "label": "OUTPUT:result"},
        ),
        (
            "INPUT:question,INPUT:text,OUTPUT:label,OUTPUT:comment,ASSIGNMENT:task_id,ASSIGNMENT:worker_id",
            {"item": "ASSIGNMENT:task_id", "rater": "ASSIGNMENT:worker_id", "label": "OUTPUT:label"},
        ),
        (
            "HITId,WorkerId,AssignmentStatus,Input.label,Input.text,Answer.relevance",
            {"item": "HITId", "rater": "WorkerId", "label": "Answer.relevance"},
        ),
        (
            "WorkerId,Input.doc,Input.text,Answer.relevance",
            {"item": "Input.doc", "rater": "WorkerId", "label": "Answer.relevance"},
        ),
    ],
)
def test_what_platforms_write_before_names_is_looked_through(
    tmp_path: Path, head: str, read_from: dict[str, str]
) -> None:
    names = head.split(",")
    lines = [head]
    for vote in VOTES:
        cells = dict(zip((read_from[part] for part in ("item", "rater", "label")), vote, strict=True))
        lines.append(",".join(cells.get(name, "other") for name in names))
    found = read_votes(file(tmp_path, "\n".join(lines)))
    votes = found.votes
    rows = zip(votes.item.tolist(), votes.rater.tolist(), votes.label.tolist(), strict=True)
    assert [(votes.items[i], votes.raters[r], votes.labels[k]) for i, r, k in rows] == VOTES
    assert {part: found.columns.name(part) for part in read_from} == read_from
    said = found.read_as.split("looked through")[1].split("before the names")[0]
    behind = {match[0] for name in read_from.values() if (match := re.match(r"\w+[:.]", name))}
    assert set(re.findall(r"\w+[:.]", said)) == behind


@pytest.mark.parametrize(
    ("head", "missing"),
    [
        ("HITId,WorkerId,Input.label,Answer.a,Answer.b", "label"),  # two answers, and a label that was shown
        ("HITId,Input.user,Answer.a", "rater"),  # somebody whom the item is of
        ("INPUT:a,OUTPUT:b,ASSIGNMENT:link", "rater"),
        ("INPUT:a,INPUT:b,OUTPUT:c,ASSIGNMENT:worker_id", "item"),
    ],
)
def test_what_platforms_write_leaves_open_is_asked_for(tmp_path: Path, head: str, missing: str) -> None:
    with pytest.raises(DataError, match=f"names no column for {missing};"):
        read_votes(file(tmp_path, head + "\n" + head))


def test_comparisons_of_platforms_are_read(tmp_path: Path) -> None:
    text = "INPUT:left\tINPUT:right\tOUTPUT:result\tASSIGNMENT:worker_id\nP\tQ\tleft\tann\nQ\tR\tR\tbob\n"
    found = read_duels(file(tmp_path, text))
    assert (found.items, found.raters, found.duels.outcome.tolist()) == (["P", "Q", "R"], ["ann", "bob"], [1.0, 0.0])
    assert "(looked through INPUT:, OUTPUT: and ASSIGNMENT: before the names)" in found.read_as


@pytest.mark.parametrize(
    "text",
    [
        "question_id,model_a,model_b,winner,judge\nq,P,Q,model_a,ann\n",
        "model_a,model_b,winner\nP,Q,P\n",  # as many columns as item, rater, label
        "id,model_a,model_b,prompt,winner_model_a,winner_model_b,winner_tie\n1,P,Q,x,1,0,0\n",
    ],
)
def test_comparisons_in_place_of_labels_are_sent_to_their_command(tmp_path: Path, text: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(DataError, match="looks like comparisons of two things") as refused:
        read_votes(path)
    assert "heed rank FILE" in refused.value.fix
    assert read_duels(path).items == ["P", "Q"]
