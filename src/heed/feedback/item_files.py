"""Items to be asked about, from files: JSON lines, or CSV with a header.

| field, or column | content                                                                               |
|------------------|---------------------------------------------------------------------------------------|
| prompt           | the prompt as text, or in JSON lines a list of {"role", "content"}                    |
| messages         | instead of prompt: a list of {"role", "content"}; in CSV as JSON                      |
| completions      | up to 8 texts to be judged; none for a demonstration; in CSV as JSON                  |
| a, b, c ... h    | CSV: instead of completions, one text a column, none left out between                 |
| external_id, id  | the id that another program knows it by; the same one again is the same item          |
| priority         | whole number, higher first; 0 where it is not given                                   |
| overlap          | how many people are to judge it, 1 to 20; the question's own where it is not given    |
| purpose          | work (where it is not given), gold, training or qualification                         |
| expected         | the known answer, in the item's own order; all purposes but work need one; in CSV as JSON |
| explanation      | shown with the known answer where the purpose is training                             |
| source           | where it is from; else the file and the line                                          |

Fields of other names, such as metadata, have no place in an item: they are passed over, and counted by name. Reading is a stream, as for feedback (see ``heed.feedback.formats``): a
file of any size takes the memory of its longest row, and a row that cannot be read is named by its line and the reason.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from heed.errors import DataError
from heed.feedback.formats import table
from heed.feedback.formats.lines import Line, load_object, read_lines
from heed.feedback.formats.rows import BrokenRow, RowError, read_prompt, read_text
from heed.feedback.kinds import PromptContent

ItemFormat = Literal["lines", "csv"]
MOST_COMPLETIONS = 8
PURPOSES = ("work", "gold", "training", "qualification")

_LETTERS = string.ascii_lowercase[:MOST_COMPLETIONS]
_TEXTS = ("external_id", "id", "purpose", "explanation", "source")
_KNOWN = frozenset({"prompt", "messages", "completions", "priority", "overlap", "expected", *_TEXTS})
_LONGEST_ID = 255
_LARGEST_PRIORITY = 1_000_000_000
_MOST_OVERLAP = 20


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item of a file.

    Attributes:
        prompt: the prompt.
        completions: the texts to be judged, in the item's own order.
        external_id: what another program calls it.
        priority: higher is asked first.
        overlap: how many people are to judge it; None takes the question's.
        purpose: "work", "gold", "training" or "qualification".
        expected: the known answer, in the item's own order.
        explanation: why that is the answer.
        source: where it is from.
        line: line of the file that it starts on, from 1.
        ignored: fields that heed does not know.
    """

    prompt: PromptContent
    completions: tuple[str, ...]
    external_id: str | None = None
    priority: int = 0
    overlap: int | None = None
    purpose: str = "work"
    expected: dict[str, Any] | None = None
    explanation: str = ""
    source: str = ""
    line: int = 0
    ignored: tuple[str, ...] = ()


def read_items(
    path: str | Path, format: Literal["auto"] | ItemFormat = "auto", name: str = ""
) -> Iterator[ItemRow | BrokenRow]:
    """The items of a file, one at a time, good and broken in their order.

    Args:
        path: the file, plain or gzip.
        format: "lines", "csv", or "auto": a first line that begins with ``{`` is one of JSON lines.
        name: what the file was called where it came from, for the source of its items; its own name where it is "".

    Raises:
        DataError: at once where the file cannot be opened, is empty, or its table header is unfit; while reading where
            the disk fails.
    """
    path = Path(path)
    if format not in ("auto", *get_args(ItemFormat)):
        raise DataError(f"format '{format}'", "items are not read from it.", f"Use {', '.join(get_args(ItemFormat))}.")
    lines = read_lines(path)
    first = next((line for line in lines if line.data.strip() or line.fault), None)
    if first is None:
        raise DataError(f"{path.name} holds no items", "it is empty.", "Give JSON lines or CSV.")
    lines = chain([first], lines)
    found = format if format != "auto" else "lines" if first.data.lstrip()[:1] in (b"{", b"") else "csv"
    if found == "csv":
        records = table.read_records(lines)
        return _table_items(records, _read_header(path, records), name or path.name)
    return _line_items(lines, name or path.name)


def _read_header(path: Path, records: Iterator[tuple[int, list[str]] | BrokenRow]) -> list[str]:
    header = next(records)
    if not isinstance(header, BrokenRow):
        table.check_text(header[1], path.name)
    fault = header.reason if isinstance(header, BrokenRow) else table.check_header(header[1])
    if isinstance(header, BrokenRow) or fault:
        raise DataError(
            f"{path.name} has no usable header", f"{fault}.", "Name the columns in the first row: prompt, a, b, ..."
        )
    return header[1]


def _line_items(lines: Iterator[Line], name: str) -> Iterator[ItemRow | BrokenRow]:
    for line in lines:
        if line.fault:
            yield BrokenRow(line.number, line.fault)
        elif line.data.strip():
            yield _item(partial(load_object, line.data), line.number, name)


def _table_items(
    records: Iterator[tuple[int, list[str]] | BrokenRow], columns: list[str], name: str
) -> Iterator[ItemRow | BrokenRow]:
    for record in records:
        if isinstance(record, BrokenRow):
            yield record
        else:
            yield _item(partial(_values_of_cells, columns, record[1]), record[0], name)


def _item(read: Callable[[], dict[str, Any]], line: int, name: str) -> ItemRow | BrokenRow:
    try:
        return parse_item(read(), line, f"{name}:{line}")
    except RowError as error:
        return BrokenRow(line, str(error))


def _values_of_cells(columns: list[str], cells: list[str]) -> dict[str, Any]:
    """A row of a table as the object that the same item is in JSON lines."""
    given: dict[str, Any] = table.named_cells(columns, cells)
    for name in ("messages", "completions", "expected"):
        if name in given:
            given[name] = table.json_cell(name, given[name])
    for name in ("priority", "overlap"):
        if name in given:
            given[name] = _whole_cell(name, given[name])
    texts = table.lettered(given)
    if texts:
        if "completions" in given:
            raise RowError("it has both completions and columns a, b, ...; which is meant?")
        if len(texts) > len(_LETTERS):
            raise RowError(f"{len(texts)} completions, and {MOST_COMPLETIONS} is the most")
        given = {name: value for name, value in given.items() if name not in _LETTERS} | {"completions": list(texts)}
    return given


def _whole_cell(name: str, cell: str) -> int:
    number = cell.strip()
    if not number.removeprefix("-").isascii() or not number.removeprefix("-").isdigit() or len(number) > 12:
        raise RowError(f"{name} is {cell[:40]!r}, not a whole number")
    return int(number)


def parse_item(values: dict[str, Any], line: int = 0, source: str = "") -> ItemRow:
    """An item from the fields of the table above, as JSON has them. ``source`` stands where they name none.

    Raises:
        RowError: with the reason why it is none.
    """
    given = {name: value for name, value in values.items() if value is not None}
    texts = {name: _optional_text(given, name) for name in _TEXTS}
    purpose = texts["purpose"] or "work"
    if purpose not in PURPOSES:
        raise RowError(f"purpose is {purpose[:40]!r}; it is one of {', '.join(PURPOSES)}")
    return ItemRow(
        prompt=_prompt_of(given),
        completions=_completions_of(given),
        external_id=_external_id(texts),
        priority=_whole(given, "priority", -_LARGEST_PRIORITY, _LARGEST_PRIORITY) or 0,
        overlap=_whole(given, "overlap", 1, _MOST_OVERLAP),
        purpose=purpose,
        expected=_expected_of(given, purpose),
        explanation=texts["explanation"],
        source=texts["source"] or source,
        line=line,
        ignored=() if _KNOWN.issuperset(given) else tuple(sorted(set(given) - _KNOWN)),
    )


def _external_id(texts: dict[str, str]) -> str | None:
    """What another program calls the item, under either of its two names."""
    names = [name for name in ("external_id", "id") if texts[name]]
    found = {texts[name] for name in names}
    if len(found) > 1:
        raise RowError("it has both external_id and id, and they differ; which is meant?")
    if found and len(texts[names[0]]) > _LONGEST_ID:
        raise RowError(f"{names[0]} has {len(texts[names[0]]):,} characters, and {_LONGEST_ID} is the most")
    return texts[names[0]] if names else None


def _prompt_of(given: dict[str, Any]) -> PromptContent:
    if "prompt" in given and "messages" in given:
        raise RowError("it has both prompt and messages; which is meant?")
    if "messages" in given:
        if not isinstance(given["messages"], list):
            raise RowError("messages is not a list of messages")
        return read_prompt(given["messages"])
    if "prompt" not in given:
        raise RowError("'prompt' is missing")
    return read_prompt(given["prompt"])


def _completions_of(given: dict[str, Any]) -> tuple[str, ...]:
    completions = given.get("completions", [])
    if not isinstance(completions, list):
        raise RowError("completions is not a list of texts")
    if len(completions) > MOST_COMPLETIONS:
        raise RowError(f"{len(completions)} completions, and {MOST_COMPLETIONS} is the most")
    # A model may answer nothing at all, and be judged for it.
    texts = tuple(read_text(text, f"completion {k}", may_be_empty=True) for k, text in enumerate(completions, 1))
    if len(set(texts)) != len(texts):
        raise RowError("two of the completions are the same text")
    return texts


def _expected_of(given: dict[str, Any], purpose: str) -> dict[str, Any] | None:
    expected = given.get("expected")
    if expected is None:
        if purpose != "work":
            raise RowError(f"purpose {purpose} needs the known answer, and 'expected' is missing")
        return None
    if not isinstance(expected, dict) or not expected:
        raise RowError("expected is not an object of answers by field")
    if purpose == "work":
        raise RowError("expected is given, but purpose is work: is it gold?")
    return expected


def _optional_text(given: dict[str, Any], name: str) -> str:
    if name not in given:
        return ""
    value = given[name]
    # Ids of other programs are often numbers.
    if name in ("external_id", "id") and type(value) is int:
        value = str(value)
    return read_text(value, name, may_be_empty=True)


def _whole(given: dict[str, Any], name: str, low: int, high: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise RowError(f"{name} is not a whole number")
    if not low <= value <= high:
        raise RowError(f"{name} is {value if abs(value) < 10**12 else 'far off'}, and it goes from {low:,} to {high:,}")
    return value
