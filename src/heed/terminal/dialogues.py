"""``heed dialogues``: conversations to learn from, found in raw text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.terminal.console import console, note
from heed.terminal.options import Quiet, result_of
from heed.terminal.text import counted, one_line, safe

if TYPE_CHECKING:
    from heed.dialogues.documents import Census, Source
    from heed.dialogues.finding import Dialogue
    from heed.train.progress import Watcher

_SOON_OVER = 2.0
_FAULTS_SHOWN = 5
_WIDTH = 160


def dialogues(
    raw: Annotated[
        list[Path],
        typer.Argument(
            metavar="RAW...", help='Text files, JSON lines with a document under "text", or folders of them; also .gz.'
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines to write; also .gz.")],
    pairs: Annotated[
        bool, typer.Option("--pairs", help="A line for each question and its answer, not for each conversation.")
    ] = False,
    turns: Annotated[
        int, typer.Option(min=2, help="Turns in a row that a dialogue between two names has at least.")
    ] = 6,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="Print the first N dialogues.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Find prompts and responses in raw dialogues: interviews, questions with answers, transcripts, plays.

    Writes conversations that heed preview and heed train sft read. Who asks is the user, who answers the assistant.
    """
    from heed.dialogues.documents import Census, files_in, find_dialogues, nothing_found
    from heed.feedback.formats.lines import atomic_writer
    from heed.terminal.watcher import watching

    files = files_in(raw)
    target = result_of(out, *files)
    assert target is not None
    census = Census()
    examples: list[tuple[Source, Dialogue]] = []
    with watching(quiet, _SOON_OVER) as watcher, atomic_writer(target) as file:
        for source, dialogue in find_dialogues(files, census, turns, _progress(files, watcher)):
            if len(examples) < show:
                examples.append((source, dialogue))
            for values in _rows(source, dialogue, pairs):
                file.write(json.dumps(values, ensure_ascii=False).encode("utf-8") + b"\n")
        if not census.dialogues:
            raise nothing_found(files, census)
    _print(examples, census, out)
    if census.faults:
        raise typer.Exit(1)


def _progress(files: list[Path], watcher: Watcher) -> Any:
    total = max(1, sum(file.stat().st_size for file in files))
    done = 0

    def advance(size: int) -> None:
        nonlocal done
        before, done = done, done + size
        if before >> 20 != done >> 20:  # once a megabyte; what is packed holds more than its file's size
            watcher.advance(min(done, total), total, "bytes read")

    return advance


def _rows(source: Source, dialogue: Dialogue, pairs: bool) -> Iterator[dict[str, Any]]:
    from heed.dialogues.finding import pairs_of

    where = f"{source.file.name}:{source.line}"
    if not pairs:
        yield {"messages": dialogue.messages, "source": where}
        return
    for asked, answered in pairs_of(dialogue):
        yield {"prompt": asked, "completion": answered, "source": where}


def _print(examples: list[tuple[Source, Dialogue]], census: Census, out: Path) -> None:
    screen = console()
    for source, dialogue in examples:
        screen.print(safe(f"{source.file}, line {source.line}"), style="bold", soft_wrap=True)
        for message in dialogue.messages:
            own = message["role"] == "assistant"
            text = one_line(f"{message['role']}: {message['content']}", _WIDTH)
            screen.print(text, style="green" if own else "dim", soft_wrap=True, markup=False)
    found = f"{counted(census.dialogues, 'dialogue')} with {counted(census.turns, 'turn')} and {counted(census.pairs, 'pair')}"
    looked = f"{census.with_dialogue:,} of {counted(census.documents, 'document')}"
    screen.print(safe(f"{found} in {looked}: {out}"), soft_wrap=True)
    for reason, count in census.left_out.most_common():
        note(f"left out: {count:,} x {reason}")
    if census.repeated:
        note(f"left out: {counted(census.repeated, 'dialogue')} found before")
    if census.other_encoding:
        note(f"{counted(census.other_encoding, 'line')} not UTF-8, read as Windows-1252")
    for fault in census.faults[:_FAULTS_SHOWN]:
        note(fault)
    if (more := len(census.faults) - _FAULTS_SHOWN) > 0:
        note(f"{more:,} more files or rows that could not be read")
