"""``heed dialogues``: files of every sort in, conversations that training reads out, and what is said of the rest."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from spoken_documents import INTERVIEW, NAMES, NEGATIVES, POSITIVES, QUESTIONS

from heed.cli import app
from heed.dialogues.documents import Census, files_in, find_dialogues
from heed.errors import ConfigError, DataError
from heed.stages.data import read_demonstrations
from tiny_models import byte_policy

CHAT = (
    "{% for m in messages %}{{ m.role[0] }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}a>{% endif %}"
)


def run(*arguments: str | Path) -> int:
    return int(app(["dialogues", *map(str, arguments)], standalone_mode=False) or 0)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_conversations_are_written_that_preview_and_training_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "talk.txt").write_text(INTERVIEW)
    (tmp_path / "raw" / "more.md").write_text(QUESTIONS)
    (tmp_path / "raw" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "raw" / "table.txt").write_text(NEGATIVES["people"])
    out = tmp_path / "shown.jsonl"
    assert run(tmp_path / "raw", "--out", out, "--show", "1") == 0
    printed = capsys.readouterr()
    assert "2 dialogues with 12 turns and 6 pairs in 2 of 3 documents" in printed.out
    assert "user: How do I reset the meter?" in printed.out
    assert "Marta" not in printed.out
    assert "left out: 1 x labels that alternate, but nothing that reads like talk" in printed.err
    rows = rows_of(out)
    assert [row["source"] for row in rows] == ["more.md:3", "talk.txt:4"]
    found, broken = read_demonstrations(out)
    assert not broken
    assert [(row.whole, len(row.prompt) + 1) for row in found] == [(True, 6), (True, 6)]
    policy = byte_policy(max_position_embeddings=2048)
    policy.tokenizer.chat_template = CHAT
    policy.save(tmp_path / "model")
    assert not app(["preview", "--model", str(tmp_path / "model"), "--data", str(out)], standalone_mode=False)


def test_pairs_are_written_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text(INTERVIEW)
    assert run(tmp_path / "talk.txt", "--out", tmp_path / "pairs.jsonl", "--pairs", "--quiet") == 0
    found, _ = read_demonstrations(tmp_path / "pairs.jsonl")
    assert [(row.prompt, row.answer) for row in found] == [
        *POSITIVES["interview"][1][:1],
        (
            "What do they ask for?",
            "Rye, mostly. Some ask for the recipe.\n\nIt is my grandmother's, and she made me promise to keep it.",
        ),
        ("And do you?", "Yes. So far."),
    ]


def test_what_is_found_twice_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text(NAMES)
    (tmp_path / "b.txt").write_text(NAMES.upper().replace("ANNA:", "Anna:").replace("BEN:", "Ben:"))
    assert run(tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "a.txt", "--out", tmp_path / "out.jsonl") == 0
    assert len(rows_of(tmp_path / "out.jsonl")) == 1
    assert "1 dialogue found before" in capsys.readouterr().err


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_byte_order_marks_and_gzip_change_nothing(tmp_path: Path, ends: str) -> None:
    data = b"\xef\xbb\xbf" + NAMES.replace("\n", ends).encode()
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data))
    assert run(tmp_path / "a.txt.gz", "--out", tmp_path / "out.jsonl", "--quiet") == 0
    (row,) = rows_of(tmp_path / "out.jsonl")
    assert row["messages"][1] == {"role": "assistant", "content": "They were on the table this morning."}  # type: ignore[index]


def test_other_encodings_are_read_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = NAMES.replace("keys", "clés").replace("coat", "“coat”")
    (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
    assert run(tmp_path / "a.txt", "--out", tmp_path / "out.jsonl") == 0
    (row,) = rows_of(tmp_path / "out.jsonl")
    assert "clés" in str(row)
    assert "“coat”" in str(row)
    assert "2 lines not UTF-8, read as Windows-1252" in capsys.readouterr().err
    (tmp_path / "b.txt").write_bytes(NAMES.encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        run(tmp_path / "b.txt", "--out", tmp_path / "out2.jsonl")
    assert not (tmp_path / "out2.jsonl").exists()


def test_json_lines_hold_a_document_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        json.dumps({"text": NAMES}),
        json.dumps({"text": "nothing"}),
        json.dumps({"no": 1}),
        "{",
        json.dumps({"text": QUESTIONS}),
    ]
    (tmp_path / "web.jsonl").write_text("\n".join(rows) + "\n")
    assert run(tmp_path / "web.jsonl", "--out", tmp_path / "out.jsonl") == 1
    told = capsys.readouterr()
    assert "in 2 of 3 documents" in told.out
    assert "line 3: it has no text under 'text'" in told.err
    assert "line 4: not JSON" in told.err
    assert [row["source"] for row in rows_of(tmp_path / "out.jsonl")] == ["web.jsonl:1", "web.jsonl:5"]


def test_files_without_anything_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    for name, content in (("empty.txt", ""), ("blank.txt", "\n \n"), ("empty.jsonl", "")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=f"{name} is empty"):
            run(tmp_path / name, "--out", out)
    (tmp_path / "prose.txt").write_text("Nobody speaks here.\n")
    with pytest.raises(DataError, match="no line begins with a speaker's label"):
        run(tmp_path / "prose.txt", "--out", out)
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "gone.txt", "--out", out)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="holds nothing to read"):
        run(tmp_path / "folder", "--out", out)
    assert not out.exists()
    (tmp_path / "names.txt").write_text(NAMES)
    with pytest.raises(ConfigError, match="would be replaced"):
        run(tmp_path / "names.txt", "--out", tmp_path / "names.txt")
    assert run(tmp_path / "empty.txt", tmp_path / "names.txt", "--out", out) == 1
    assert "empty.txt is empty" in capsys.readouterr().err


def test_a_large_file_takes_the_memory_of_a_dialogue(tmp_path: Path) -> None:
    """One document of 12 MB with a million-byte line in it; what is held is far less."""
    with (tmp_path / "large.txt").open("w") as file:
        file.write("x" * 2_000_000 + "\n" * 2)
        for number in range(40_000):
            file.write(NAMES.replace(": ", f": {number}, "))
    census, progress = Census(), 0

    def advance(size: int) -> None:
        nonlocal progress
        progress += size

    tracemalloc.start()
    for _ in islice(find_dialogues(files_in([tmp_path / "large.txt"]), census, progress=advance), 40):
        pass
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert census.turns == 40 * 200
    assert held < 6_000_000
    assert progress < 3_000_000
    assert census.left_out == {"a line longer than a million bytes": 1}
