"""Documents to look for dialogues in, read as streams: text files, and JSON lines with a text each, plain or gzip."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from heed.dialogues.finding import FEWEST_TURNS, Dialogue, Finder, pairs_of
from heed.errors import DataError
from heed.feedback.formats.lines import Line, load_object, read_lines
from heed.feedback.formats.rows import RowError
from heed.texts import counted

TEXT, LINES = (".txt", ".text", ".md"), (".jsonl", ".ndjson")
_LONG_LINE = "a line longer than a million bytes"


class Source(NamedTuple):
    """Where a dialogue stands: the file, and the line that it, or the row that holds it, starts on."""

    file: Path
    line: int


@dataclass
class Census:
    """What was found, and why the rest was left out (counts).

    Attributes:
        documents: looked at; with_dialogue: of them.
        dialogues, turns, pairs: found and kept, a pair being what is asked and what is answered.
        repeated: dialogues that were found before.
        other_encoding: lines that are not UTF-8 and were read as Windows-1252.
        left_out: stretches with labels, by reason.
        faults: sentences about files and rows that could not be read.
    """

    documents: int = 0
    with_dialogue: int = 0
    dialogues: int = 0
    turns: int = 0
    pairs: int = 0
    repeated: int = 0
    other_encoding: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant: files as they are given, and those of folders that are text or JSON lines by their names.

    Raises:
        DataError: there is no such file, or a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            own = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file) in (*TEXT, *LINES))
            if not own:
                raise DataError(
                    f"folder {path} holds nothing to read",
                    f"files of text end in {', '.join((*TEXT, *LINES))} or one of these and .gz.",
                    "Name files one by one: whatever they are called, they are read as text.",
                )
            found += own
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"cannot read {path}", "there is no such file.", "Check the path.")
    return list(dict.fromkeys(found))


def find_dialogues(
    files: Sequence[Path],
    census: Census,
    fewest: int = FEWEST_TURNS,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[Source, Dialogue]]:
    """The dialogues of files, each once, in their order; ``census`` counts as they come.

    Args:
        files: text, a document each; or by their names JSON lines, a document in the field "text" of each.
        fewest: turns of a dialogue between names (count).
        progress: told the bytes read since it was told before.
    """
    seen: set[bytes] = set()
    for file in files:
        try:
            yield from _of_file(file, census, fewest, progress or _nothing, seen)
        except DataError as error:
            census.faults.append(f"{error.what}: {error.why}")


def _of_file(
    file: Path, census: Census, fewest: int, progress: Callable[[int], None], seen: set[bytes]
) -> Iterator[tuple[Source, Dialogue]]:
    lines = read_lines(file)
    if _kind(file) in LINES:
        empty = True
        for line in lines:
            empty = False
            progress(len(line.data))
            text = _text_of_row(file, line, census)
            if text is not None:
                found = Finder(fewest, census.left_out).lines(text.splitlines())
                for dialogue in _new(found, census, seen):
                    yield Source(file, line.number), dialogue
    else:
        first = next((line for line in lines if line.data.strip() or line.fault), None)
        empty = first is None
        if first is not None:
            texts = _decoded(chain([first], lines), census, progress)
            found = Finder(fewest, census.left_out).lines(texts, first.number)
            for dialogue in _new(found, census, seen):
                yield Source(file, dialogue.turns[0].line), dialogue
    if empty:
        census.faults.append(f"{file} is empty")


def _decoded(lines: Iterable[Line], census: Census, progress: Callable[[int], None]) -> Iterator[str]:
    for line in lines:
        progress(len(line.data))
        if line.fault:
            census.left_out[_LONG_LINE] += 1
            yield ""
            continue
        try:
            yield line.data.decode("utf-8")
        except UnicodeDecodeError:
            census.other_encoding += 1
            yield line.data.decode("cp1252", errors="replace")


def _text_of_row(file: Path, line: Line, census: Census) -> str | None:
    if not line.data.strip() and not line.fault:
        return None
    try:
        if line.fault:
            raise RowError(line.fault)
        text = load_object(line.data).get("text")
        if not isinstance(text, str):
            raise RowError("it has no text under 'text'")
    except RowError as error:
        census.faults.append(f"{file}, line {line.number}: {error}")
        return None
    return text


def _new(found: Iterator[Dialogue], census: Census, seen: set[bytes]) -> Iterator[Dialogue]:
    """Of the dialogues of one document those that were not found before, counted."""
    census.documents += 1
    first = True
    for dialogue in found:
        key = hashlib.sha256("\0".join(" ".join(turn.text.casefold().split()) for turn in dialogue.turns).encode())
        if key.digest()[:16] in seen:
            census.repeated += 1
            continue
        seen.add(key.digest()[:16])
        census.with_dialogue += first
        first = False
        census.dialogues += 1
        census.turns += len(dialogue.messages)
        census.pairs += len(pairs_of(dialogue))
        yield dialogue


def nothing_found(files: Sequence[Path], census: Census) -> DataError:
    """Why there is nothing to write."""
    reasons = [f"{count:,} x {reason}" for reason, count in census.left_out.most_common(3)]
    why = census.faults[0] if census.faults else "; ".join(reasons) or "no line begins with a speaker's label"
    name = str(files[0]) if len(files) == 1 else counted(len(files), "file")
    return DataError(
        f"no dialogue found in {name}",
        f"{why}.",
        "Dialogues are turns such as 'Name: text', 'Q. text' or a NAME above its text; --turns lowers how many it takes.",
    )


def _kind(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _nothing(size: int) -> None:
    """Nobody wants to know."""
