"""Plain CSV (RFC 4180, UTF-8 with or without byte order mark): one judgment a row, a header of column names.

It is written with commas between the cells. Semicolons and tabs are read as well, where the header names a prompt by them, and
so are names of columns in capitals.

| column                 | kinds      | content                                                           |
|------------------------|------------|-------------------------------------------------------------------|
| kind                   | all        | comparison, rating, ranking, thumb, edit, demonstration, critique; empty: comparison |
| rater                  | all        | the rater's name; empty: the importing rater                      |
| prompt, or messages    | all        | the prompt as text; or a JSON list of {"role", "content"}         |
| a, b, c ... z          | all        | the completions, none left out between; written up to h           |
| choice                 | comparison | a, b, tie, both_bad                                               |
| strength               | comparison | 1, 2, 3 or empty                                                  |
| scores                 | rating     | JSON object: attribute to score, {"polite": 4}                    |
| scales                 | rating     | JSON object: attribute to scale, {"polite": {"low": 1, "high": 5, "step": 1}} |
| ranking                | ranking    | best first, = between ties, letters of completions: b > a = c     |
| up                     | thumb      | true or false                                                     |
| edited                 | edit       | the edited text                                                   |
| text                   | demonstration | the answer written                                             |
| defects                | critique   | JSON list of names                                                |
| spans                  | critique   | JSON list of {"start", "end", "label", "note"}, in characters     |
| note                   | critique   | text                                                              |
| shown                  | all        | letters of the completions in the order shown: ba                 |
| seconds, confidence    | all        | numbers, or empty                                                 |
| created                | all        | time with its zone, 2026-01-31T12:00:00Z; empty: not known        |
| source, supersedes     | all        | as in heed's JSON lines                                           |
| completion_ids         | all        | ids with a space between; empty for completions that heed did not sample |

Under TRL's names, ``chosen`` and ``rejected`` are the completions a and b of a comparison that a wins; ``completion`` alone
is a demonstration, and with ``label`` (true or false) a thumb.

Only ``prompt`` or ``messages`` must be there; columns of other names are passed over and counted. An empty cell is
nothing given, so an empty completion cannot be written.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end, some also with blanks before
them, for a formula and runs it. Such a cell is written with an apostrophe before it; reading takes that apostrophe off again, so that nothing is lost.
"""

from __future__ import annotations

import csv
import io
import json
import re
import string
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from heed.feedback.formats.lines import MAX_ROW_BYTES, Line, load_object, not_text
from heed.feedback.formats.rows import (
    BrokenRow,
    Parsed,
    Row,
    RowError,
    import_ids,
    plain_prompt,
    read_messages,
    read_prompt,
    read_text,
)

_LETTERS = string.ascii_lowercase
_WRITTEN_LETTERS = _LETTERS[:8]
_TEXT = ("kind", "rater", "choice", "edited", "text", "note", "created", "source", "supersedes")
_JSON = ("scores", "scales", "defects", "spans")
_NUMBERS = ("strength", "seconds", "confidence")
_OTHER = ("ranking", "up", "shown", "completion_ids")
KNOWN_COLUMNS = frozenset({"prompt", "messages", *_LETTERS, *_TEXT, *_JSON, *_NUMBERS, *_OTHER})
WRITTEN_COLUMNS = (
    *("kind", "rater", "prompt", "messages", *_WRITTEN_LETTERS, "choice", "strength", "scores", "scales", "ranking"),
    *("up", "edited", "text", "defects", "spans", "note", "shown", "seconds", "confidence", "created", "source"),
    *("supersedes", "completion_ids"),
)
_OF_TRL = ("chosen", "rejected", "completion", "label")
_SEPARATORS = (",", ";", "\t")
MOST_COLUMNS = 1000
"""In a header. No table of feedback or of items comes near; one line can name half a million, which every row then has to have."""

# The last four are the wide forms, which some spreadsheets take for the others.
_FORMULA = re.compile("'*(?:[\t\r\n]|\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))  # else 128 KiB, less than a row may have


def read_records(lines: Iterator[Line]) -> Iterator[tuple[int, list[str]] | BrokenRow]:
    """Records with the line that each starts on; a quoted cell may span lines.

    Where the quotation marks of a record do not work out, only its first line is given up and reading goes on with the
    next, so that one stray mark does not swallow the records after it.
    """
    waiting: deque[Line] = deque()
    separator = ""
    while (first := waiting.popleft() if waiting else next(lines, None)) is not None:
        block, fault = _collect(first, waiting, lines)
        if fault is None:
            text = b"".join(line.data for line in block)
            if not text.strip():
                continue
            try:
                # What is not UTF-8 becomes lone surrogates, which tell the row apart below without ending the reading.
                record = text.decode("utf-8", errors="surrogateescape")
                separator = separator or _separator(record)
                yield first.number, _cells(record, separator)
                continue
            except csv.Error as error:
                fault = f"not CSV: {error}"
        waiting.extendleft(reversed(block[1:]))
        yield BrokenRow(first.number, fault)


def _collect(first: Line, waiting: deque[Line], lines: Iterator[Line]) -> tuple[list[Line], str | None]:
    """Lines from ``first`` on until every quotation mark has its partner, or why there is no such end."""
    block, size, marks = [first], len(first.data), first.data.count(b'"')
    if first.fault:
        return block, first.fault
    while marks % 2:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return block, "not CSV: a quotation mark opens a cell that nothing closes"
        block.append(line)
        size += len(line.data)
        marks += line.data.count(b'"')
        if line.fault or size > MAX_ROW_BYTES:
            return block, f"not CSV: a quotation mark opens a cell that nothing closes within {MAX_ROW_BYTES} bytes"
    return block, None


def _separator(header: str) -> str:
    """What stands between the cells of a table with this first record: the mark that makes it name a prompt, else one that is there."""
    for separator in _SEPARATORS:
        try:
            if names_a_prompt(in_our_spelling(_cells(header, separator))):
                return separator
        except csv.Error:
            continue
    return next((separator for separator in _SEPARATORS if separator in header), ",")


def columns_of(line: Line) -> list[str]:
    """The names of the columns, where a line is the header of a table; none where it cannot be read as one."""
    for item in read_records(iter([line])):
        return [] if isinstance(item, BrokenRow) else in_our_spelling(item[1])
    return []


def in_our_spelling(columns: Sequence[str]) -> list[str]:
    """Names of columns as heed writes those that it knows; some programs write them in capitals or with blanks around."""
    plain = ((name, name.strip().lower()) for name in columns)
    return [known if known in KNOWN_COLUMNS or known in _OF_TRL else name for name, known in plain]


def _cells(text: str, separator: str) -> list[str]:
    try:
        records = list(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error as error:
        if "new-line character" not in str(error):
            raise
        # It asks, in the words of a programmer, whether the file was opened rightly.
        fault = "a carriage return stands in a cell that is not quoted; end every line with a line feed"
        raise csv.Error(fault) from None
    if len(records) != 1:
        raise csv.Error("a quotation mark stands inside a cell that is not quoted")
    return records[0]


def check_header(columns: list[str]) -> str | None:
    """Why ``columns`` cannot be the header of a table of feedback, or None."""
    if len(columns) > MOST_COLUMNS:
        return f"it has {len(columns):,} columns, and {MOST_COLUMNS:,} is the most"
    twice = sorted(name for name, times in Counter(columns).items() if times > 1)
    if twice:
        return f"the column '{twice[0]}' is there twice"
    if not names_a_prompt(columns):
        return f"it has neither a column 'prompt' nor 'messages', but {columns[:12]}"
    return None


def names_a_prompt(columns: list[str]) -> bool:
    """Whether there is a column that every table of feedback has."""
    return "prompt" in columns or "messages" in columns


def parse(columns: list[str], cells: list[str]) -> Parsed:
    """Read a row.

    Raises:
        RowError: with the reason.
    """
    given = named_cells(columns, cells)
    given = _under_our_names(given)
    if "prompt" in given and "messages" in given:
        raise RowError("it has both prompt and messages; which is meant?")
    if "messages" in given:
        prompt = read_prompt(plain_prompt(read_messages(json_cell("messages", given["messages"]), "messages")))
    else:
        prompt = read_prompt(given.get("prompt", ""))
    completions = lettered(given)
    values: dict[str, Any] = {"kind": "comparison", "source": ""}
    values |= {name: given[name] for name in _TEXT if name in given}
    values |= {name: json_cell(name, given[name]) for name in _JSON if name in given}
    values |= {name: _number(name, given[name]) for name in _NUMBERS if name in given}
    if "up" in given:
        values["up"] = _boolean("up", given["up"])
    if "ranking" in given:
        values["groups"] = [[_position(letter) for letter in group.split("=")] for group in given["ranking"].split(">")]
    if "shown" in given:
        values["shown_order"] = [_position(letter) for letter in given["shown"].strip()]
    if "completion_ids" in given:
        values["completion_ids"] = given["completion_ids"].split()
    return Parsed(prompt, completions, values, tuple(sorted(set(given) - KNOWN_COLUMNS)))


def named_cells(columns: list[str], cells: list[str]) -> dict[str, str]:
    """The cells of a record that hold something, by column.

    Raises:
        RowError: there are more or fewer than columns, or one is not UTF-8.
    """
    if len(cells) != len(columns):
        raise RowError(f"{len(cells)} cells under {len(columns)} columns")
    given = {name: as_written(cell) for name, cell in zip(columns, cells, strict=True) if cell}
    for name, cell in given.items():
        if _not_utf_8(cell):
            raise RowError(f"{name} is not UTF-8")
    return given


def check_text(columns: list[str], file: str) -> None:
    """See that the header of a file is text at all.

    Raises:
        DataError: it is not.
    """
    if any(_not_utf_8(name) for name in columns):
        raise not_text(file, "its first line holds bytes that are none of UTF-8.")


def _not_utf_8(cell: str) -> bool:
    """Whether a cell holds bytes that are no UTF-8, as :func:`read_records` marks them."""
    return any("\udc80" <= char <= "\udcff" for char in cell)


def _under_our_names(given: dict[str, str]) -> dict[str, str]:
    """A row with TRL's columns as one with heed's; any other row as it is."""
    if set(given) & {*_LETTERS, "kind", "choice"}:
        return given
    rest = {name: cell for name, cell in given.items() if name not in ("chosen", "rejected", "completion", "label")}
    if "chosen" in given or "rejected" in given:
        for name in ("chosen", "rejected"):
            if name not in given:
                raise RowError(f"'{name}' is empty")
        return rest | {"kind": "comparison", "a": given["chosen"], "b": given["rejected"], "choice": "a"}
    if "completion" in given and "label" in given:
        return rest | {"kind": "thumb", "a": given["completion"], "up": given["label"]}
    if "completion" in given:
        return rest | {"kind": "demonstration", "text": given["completion"]}
    return given


def lettered(given: dict[str, str]) -> tuple[str, ...]:
    """The texts under a, b, c, ...

    Raises:
        RowError: one between them is empty.
    """
    letters = [letter for letter in _LETTERS if letter in given]
    if letters != list(_LETTERS[: len(letters)]):
        missing = next(expected for expected, letter in zip(_LETTERS, letters, strict=False) if expected != letter)
        raise RowError(f"completion {missing} is empty, but {letters[-1]} is given")
    return tuple(read_text(given[letter], letter) for letter in letters)


def json_cell(name: str, cell: str) -> Any:
    """The value that a cell of JSON holds.

    Raises:
        RowError: it is none.
    """
    try:
        return load_object(f'{{"cell": {cell}\n}}'.encode())["cell"]
    except (RowError, KeyError, UnicodeEncodeError) as error:
        raise RowError(f"{name}: {error}") from None


def _number(name: str, cell: str) -> int | float:
    if not _NUMBER.fullmatch(cell.strip()):
        raise RowError(f"{name} is {cell[:40]!r}, not a number")
    number = float(cell)
    return int(number) if name == "strength" and number.is_integer() else number


def _boolean(name: str, cell: str) -> bool:
    try:
        return {"true": True, "false": False}[cell.strip().lower()]
    except KeyError:
        raise RowError(f"{name} is {cell[:40]!r}, not true or false") from None


def _position(letter: str) -> int:
    letter = letter.strip()
    if len(letter) != 1 or letter not in _LETTERS:
        raise RowError(f"{letter[:40]!r} is not the letter of a completion")
    return _LETTERS.index(letter)


def render(row: Row) -> list[str]:
    """The cells of a row under ``WRITTEN_COLUMNS``, as ``parse`` reads them back.

    Raises:
        RowError: a table has no place for it.
    """
    if len(row.completions) > len(_WRITTEN_LETTERS):
        raise RowError(f"CSV has no place for more than {len(_WRITTEN_LETTERS)} completions")
    if not all(text.strip() for text in row.completions):
        raise RowError("an empty completion is a missing one to CSV")
    fields = row.feedback.model_dump(mode="json", exclude={"prompt_id", "completion_ids"}, exclude_none=True)
    values = {name: _cell(name, fields[name]) for name in (*_TEXT, *_JSON, *_NUMBERS) if name in fields}
    if isinstance(row.prompt, str):
        values["prompt"] = row.prompt
    else:
        values["messages"] = json.dumps(plain_prompt(row.prompt), ensure_ascii=False)
    values |= dict(zip(_WRITTEN_LETTERS, row.completions, strict=False))
    if "up" in fields:
        values["up"] = "true" if fields["up"] else "false"
    if "groups" in fields:
        values["ranking"] = " > ".join(" = ".join(_LETTERS[k] for k in group) for group in fields["groups"])
    if "shown_order" in fields:
        values["shown"] = "".join(_LETTERS[k] for k in fields["shown_order"])
    if row.feedback.completion_ids != import_ids(row.prompt, row.completions):
        values["completion_ids"] = " ".join(row.feedback.completion_ids)
    return [values.get(name, "") for name in WRITTEN_COLUMNS]


def _cell(name: str, value: Any) -> str:
    if name in _JSON:
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else repr(value)


def harmless(cell: str) -> str:
    """``cell`` with an apostrophe before it where a spreadsheet would run it; so has a cell that only looks written so."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def as_written(cell: str) -> str:
    """What :func:`harmless` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def encode(cells: Sequence[str | float | None]) -> bytes:
    """One record as RFC 4180 has it, ending with CRLF, with nothing in it that a spreadsheet would run. Numbers stay as they
    are, below 0 too; None is an empty cell."""
    buffer = io.StringIO(newline="")
    written = [harmless(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(buffer, lineterminator="\r\n").writerow(written)
    return buffer.getvalue().encode("utf-8")
