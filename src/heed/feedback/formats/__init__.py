"""Import and export of feedback: heed's own JSON lines, TRL's formats, HH-RLHF and CSV.

Reading is a stream: a file of any size takes the memory of its longest row, at most ``MAX_ROW_BYTES``. A row that cannot
be read is reported with its line and the reason, and the rest goes on. Files ending in ``.gz`` are written compressed;
compressed files are recognised whatever their name.

Formats that name no rater or time take the importing rater and ``UNKNOWN_TIME``, a constant: ids are hashes of content,
so the same file imported twice adds nothing. It follows that two equal rows of such a file are one judgment: nothing
tells a second vote from a row copied by accident, which is far commoner, and counting it twice would make one person's
opinion weigh double. Where several people judged the same pair, CSV and heed's lines can name them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

from heed.errors import DataError
from heed.feedback.formats import heed_lines, hh, table, trl
from heed.feedback.formats.lines import MAX_ROW_BYTES, Line, atomic_writer, load_object, read_lines
from heed.feedback.formats.rows import (
    UNKNOWN_TIME,
    BrokenRow,
    ExportReport,
    ImportReport,
    Parsed,
    Row,
    RowError,
    build_row,
)
from heed.feedback.kinds import KINDS, prompt_id
from heed.texts import rater_name_fault, shown

__all__ = [
    "MAX_ROW_BYTES",
    "OF_EXCLUDED",
    "UNKNOWN_TIME",
    "BrokenRow",
    "ExcludedRows",
    "ExportReport",
    "FileFormat",
    "ImportReport",
    "Row",
    "RowWriter",
    "detect_format",
    "read_rows",
    "write_rows",
]

FileFormat = Literal["heed", "trl", "hh", "csv"]
ExcludedRows = Literal["keep", "leave"]
"""Whether a file is to have what people said who are excluded from training. Files know nothing of exclusions: where such rows
are kept, nothing marks them."""
OF_EXCLUDED = "of people excluded from training"

_PARSERS: dict[str, Callable[[dict[str, Any]], Parsed]] = {
    "heed": heed_lines.parse,
    "trl": trl.parse,
    "hh": hh.parse,
}
_LINES_LOOKED_AT, _BYTES_LOOKED_AT = 200, 8 * MAX_ROW_BYTES
_COLUMNS_SHOWN = 12


def detect_format(path: str | Path) -> FileFormat:
    """The format of a file, by its first row that belongs to one.

    Raises:
        DataError: no row does, naming what was seen; or a row could be of two formats.
    """
    return _detect(Path(path), _beginning(read_lines(Path(path)), []))


def _beginning(lines: Iterator[Line], looked_at: list[Line]) -> Iterator[Line]:
    """The lines that tell a format; each one taken is put into ``looked_at``, for a pipe gives it only once."""
    size = 0
    for line in islice(lines, _LINES_LOOKED_AT):
        looked_at.append(line)
        yield line
        size += _BYTES_LOOKED_AT // 2 if line.fault else len(line.data)  # what was passed over may have been long
        if size > _BYTES_LOOKED_AT:
            return


def _detect(path: Path, lines: Iterator[Line]) -> FileFormat:
    seen: list[str] = []
    refusals: list[str] = []
    first: Line | None = None
    for line in lines:
        if not line.data.strip() and not line.fault:
            continue
        first = first or line
        if not seen and _is_table_header(line):
            return "csv"
        try:
            if line.fault:
                raise RowError(line.fault)
            row = load_object(line.data)
        except RowError as error:
            seen.append(f"line {line.number}: {error}")
            continue
        formats = _formats_of(row)
        if len(formats) > 1:
            raise DataError(
                f"{path}, line {line.number} could be {' or '.join(formats)}",
                f"its fields are {sorted(row)}.",
                f"Say which with --format {formats[0]} or another.",
            )
        if formats:
            return formats[0]
        reason = trl.refusal(set(row))
        if reason:
            refusals.append(reason)
        seen.append(f"line {line.number} has the fields {sorted(row)[:12]}")
    if refusals:
        raise DataError(
            f"{path} holds no feedback", f"{refusals[0]}.", "Give a file of judgments; prompts belong to 'heed init'."
        )
    raise _of_no_format(path, first, seen)


def _of_no_format(path: Path, first: Line | None, seen: Sequence[str]) -> DataError:
    """What to do with a file that begins with the line ``first`` and has no row of a known format."""
    begin = b"" if first is None else first.data.lstrip()[:1]
    columns = [] if first is None or begin in (b"{", b"[") else table.columns_of(first)
    if len(columns) > 1:
        return DataError(
            f"{path} has no column 'prompt'",
            f"it looks like a table, and its columns are {', '.join(map(shown, columns[:_COLUMNS_SHOWN]))}.",
            "Name them prompt, chosen and rejected; or prompt, a, b and choice, which is a, b or tie.",
        )
    if begin == b"[":
        return DataError(
            f"cannot tell the format of {path}",
            "it looks like one JSON list, and judgments are read from lines, one object each.",
            "Turn it into JSON lines: jq -c '.[]' FILE > FILE.jsonl",
        )
    return DataError(
        f"cannot tell the format of {path}",
        f"{seen[0]}." if seen else "it is empty.",
        "Give JSON lines of heed, TRL (prompt, chosen, rejected) or HH-RLHF, or CSV (prompt, chosen, rejected; or prompt, a, b, "
        "choice); 'heed feedback import --format' also takes what is not clear.",
    )


def _formats_of(row: dict[str, Any]) -> list[FileFormat]:
    formats: list[FileFormat] = []
    columns = {name for name, value in row.items() if value is not None}
    if isinstance(row.get("kind"), str) and row["kind"] in KINDS:
        formats.append("heed")
    pair = [row.get("chosen"), row.get("rejected")]
    transcripts = [hh.is_transcript(text) for text in pair]
    if all(transcripts) and "prompt" not in columns:
        formats.append("hh")
    elif columns >= trl.PREFERENCE or columns >= trl.COMPLETION:
        formats += ["hh", "trl"] if any(transcripts) and "prompt" not in columns else ["trl"]
    elif "messages" in columns and not formats:
        formats.append("trl")
    return formats


def _is_table_header(line: Line) -> bool:
    # By its names alone: what else is wrong with a header is told when it is read as one.
    return table.names_a_prompt(table.columns_of(line))


def read_rows(
    path: str | Path, format: Literal["auto"] | FileFormat = "auto", rater: str = "import", name: str = ""
) -> Iterator[Row | BrokenRow]:
    """The rows of a file, one at a time, good and broken in their order. The file is read once, so a pipe serves as well.

    Args:
        path: the file, plain or gzip.
        format: how to read it; ``auto`` goes by its first good row.
        rater: who judged, where a row does not say.
        name: what the file was called where it came from, for the source of its rows; its own name where it is "".

    Raises:
        DataError: at once where the file cannot be opened, its format is unknown or its table header is unfit; while
            reading where the disk fails.
    """
    path = Path(path)
    fault = rater_name_fault(rater)
    if fault:
        raise DataError(f"rater {shown(rater)}", f"{fault}.", "Give another name.")
    if format != "auto" and format not in get_args(FileFormat):
        raise DataError(f"format '{format}'", "heed does not know it.", f"Use {', '.join(get_args(FileFormat))}.")
    lines = read_lines(path)
    looked_at: list[Line] = []
    beginning = _beginning(lines, looked_at)
    if format == "auto":
        found = _detect(path, beginning)
    else:
        found = format
        next(beginning, None)  # a file that cannot be opened is an error now, not at the first row
    lines = chain(looked_at, lines)
    if found == "csv":
        records = table.read_records(lines)
        return _table_rows(name or path.name, records, _read_header(path, records), rater)
    return _line_rows(name or path.name, lines, _PARSERS[found], rater)


def _read_header(path: Path, records: Iterator[tuple[int, list[str]] | BrokenRow]) -> list[str]:
    for item in records:
        if isinstance(item, BrokenRow):
            fault: str | None = item.reason
        else:
            table.check_text(item[1], path.name)
            columns = table.in_our_spelling(item[1])
            fault = table.check_header(columns)
            if fault is None:
                return columns
        raise DataError(f"{path} has no usable header", f"{fault}.", "See the columns in heed.feedback.formats.table.")
    raise DataError(f"{path} has no header", "it is empty.", "See the columns in heed.feedback.formats.table.")


def _line_rows(
    name: str, lines: Iterator[Line], parse: Callable[[dict[str, Any]], Parsed], rater: str
) -> Iterator[Row | BrokenRow]:
    def parse_line(data: bytes) -> Parsed:
        return parse(load_object(data))

    for line in lines:
        if line.fault:
            yield BrokenRow(line.number, line.fault)
        elif line.data.strip():
            yield _row(partial(parse_line, line.data), line.number, rater, name)


def _table_rows(
    name: str, records: Iterator[tuple[int, list[str]] | BrokenRow], columns: list[str], rater: str
) -> Iterator[Row | BrokenRow]:
    for item in records:
        if isinstance(item, BrokenRow):
            yield item
        else:
            number, cells = item
            yield _row(partial(table.parse, columns, cells), number, rater, name)


def _row(parse: Callable[[], Parsed], number: int, rater: str, name: str) -> Row | BrokenRow:
    name = name.encode("utf-8", errors="replace").decode()  # a file name may be bytes that are no text
    try:
        return build_row(parse(), number, rater, f"{name}:{number}")
    except RowError as error:
        return BrokenRow(number, str(error))


def write_rows(
    rows: Iterable[Row],
    path: str | Path,
    format: FileFormat,
    excluded: Collection[str] = (),
    excluded_rows: ExcludedRows | None = None,
) -> ExportReport:
    """Write rows to a file, whole or not at all.

    heed's own lines carry everything, CSV everything but empty and very many completions. TRL and HH-RLHF hold neither
    raters nor times, and only some kinds: the report counts what stayed behind, by reason and by field.

    Args:
        rows: what to write.
        path: where to.
        format: how.
        excluded, excluded_rows: as for :class:`RowWriter`.

    Raises:
        DataError: the place cannot be written or is full, or a row's texts do not belong to its feedback. What was at
            ``path`` before is then still there.
    """
    path = Path(path)
    writer = RowWriter(format, excluded=excluded, excluded_rows=excluded_rows)
    with atomic_writer(path) as file:
        file.write(writer.header)
        for row in rows:
            file.write(writer.encode(row))
    return writer.report


class RowWriter:
    """Turns rows into the bytes of one file, one after the other.

    Args:
        format: how.
        report: what was written to the file before, where it is gone on with.
        excluded: names of the raters who are excluded from training.
        excluded_rows: whether their rows are kept; None keeps them in heed's own lines, which are the backup of a project,
            and leaves them out of the formats that others read and train on.

    Attributes:
        header: what the file begins with.
        report: counts what was written and what stayed behind, as it happens.

    Raises:
        DataError: heed does not write the format.
    """

    def __init__(
        self,
        format: FileFormat,
        report: ExportReport | None = None,
        *,
        excluded: Collection[str] = (),
        excluded_rows: ExcludedRows | None = None,
    ) -> None:
        self._encode = _encoder(format)
        self._format = format
        self._excluded = frozenset(excluded)
        self._keeps_excluded = (excluded_rows or ("keep" if format == "heed" else "leave")) == "keep"
        self.header = table.encode(table.WRITTEN_COLUMNS) if format == "csv" else b""
        self.report = report or ExportReport()

    def encode(self, row: Row) -> bytes:
        """The bytes of a row; none where it is left out, or the format has no place for it.

        Raises:
            DataError: the row's texts do not belong to its feedback.
        """
        _check_belongs(row)
        of_excluded = row.feedback.rater in self._excluded
        try:
            if of_excluded and not self._keeps_excluded:
                raise RowError(OF_EXCLUDED)
            data = self._encode(row)
            if len(data) > MAX_ROW_BYTES:
                raise RowError(f"longer than {MAX_ROW_BYTES} bytes")
        except RowError as error:
            self.report.left_out[str(error)] += 1
            return b""
        self.report.written += 1
        self.report.of_excluded += of_excluded
        if self._format in ("trl", "hh"):
            self.report.dropped_fields.update(_fields_beside_the_answer(row))
        return data


def _encoder(format: FileFormat) -> Callable[[Row], bytes]:
    if format == "csv":
        return lambda row: table.encode(table.render(row))
    renderers: dict[str, Callable[[Row], dict[str, Any]]] = {
        "heed": heed_lines.render,
        "trl": trl.Renderer(),
        "hh": hh.render,
    }
    if format not in renderers:
        raise DataError(f"format '{format}'", "heed does not write it.", f"Use {', '.join(get_args(FileFormat))}.")
    render = renderers[format]
    return lambda row: json.dumps(render(row), ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def _fields_beside_the_answer(row: Row) -> list[str]:
    feedback = row.feedback
    fields = ["shown_order", "seconds", "confidence", "supersedes", "strength"]
    dropped = ["rater", *(name for name in fields if getattr(feedback, name, None) is not None)]
    return dropped if feedback.created == UNKNOWN_TIME else [*dropped, "created"]


def _check_belongs(row: Row) -> None:
    feedback = row.feedback
    if feedback.prompt_id != prompt_id(row.prompt) or len(feedback.completion_ids) != len(row.completions):
        raise DataError(
            f"feedback {feedback.id} of {feedback.rater}",
            "the prompt or completions given with it are not the ones that it is about.",
            "Give the texts of its prompt_id and completion_ids.",
        )
