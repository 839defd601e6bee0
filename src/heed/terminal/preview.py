"""``heed preview``: what is trained on, in colours, and what is wrong with it."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.terminal.console import console, report_broken
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from heed.stages.preview import Looked, Preview

_TOKENS_SHOWN = 400


def preview(
    model: Annotated[
        str, typer.Option(metavar="PATH", help="Whose tokenizer and chat template: a folder or a hub id.")
    ],
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="Demonstrations or judgments, in any format that heed imports.")
    ],
    rows: Annotated[int, typer.Option(min=0, help="Rows to show in full.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the tokens that a model is trained on, and doubled, missing or misplaced begin and end tokens.

    Colours: what is read is dim, what is learned is green; | parts tokens. Of a conversation ("messages") all that the assistant
    says is learned. Exit code 1 where something is wrong or could not be read.
    """
    from heed.models.policy import Policy
    from heed.stages.preview import preview as look

    read, whole = _rows(data)
    found = look(Policy.without_weights(model), read, rows)
    if as_json:
        print(json.dumps(_plain(found), ensure_ascii=False, indent=2))
    else:
        _print(found)
    if found.faults or not whole:
        raise typer.Exit(1)


def _rows(path: Path) -> tuple[list[Looked], bool]:
    """Every text that a row of the file is about, as it is trained on; and whether every row could be read."""
    from heed.feedback.kinds import Demonstration, Edit
    from heed.stages.data import read_feedback
    from heed.stages.preview import Looked

    found, broken = read_feedback(path)
    report_broken(path, broken)
    made = []
    for row in found:
        own = [row.feedback.text] if isinstance(row.feedback, Demonstration) else []
        own += [row.feedback.edited] if isinstance(row.feedback, Edit) else []
        texts = dict.fromkeys([*own, *row.completions])
        made += [Looked(f"line {row.line}", row.prompt, text, row.whole) for text in texts]
    return made, not broken


def _print(found: Preview) -> None:
    from rich.text import Text

    screen = console()
    for seen in found.shown:
        screen.print(safe(seen.line), style="bold")
        shown = Text()
        for own, group in groupby(zip(seen.learned, seen.tokens, strict=True), key=itemgetter(0)):
            tokens = [token for _, token in group]
            for token in tokens[:_TOKENS_SHOWN]:
                shown.append(safe(token.replace("\n", "\\n")), style="green" if own else "dim")
                shown.append("|", style="dim")
            if (more := len(tokens) - _TOKENS_SHOWN) > 0:
                shown.append(f" {more:,} more tokens ", style="dim italic")
        screen.print(shown, soft_wrap=True)
    trained = f"{found.trained:,} of {counted(found.tokens, 'token')} are learned"
    screen.print(f"{counted(found.rows, 'text')}; {trained}, the others are read")
    for fault, count in found.faults.items():
        screen.print(safe(f"look: {count:,} {fault} (first {found.first[fault]})"), style="yellow")
    if not found.faults:
        screen.print("Begin and end tokens stand where they should.")


def _plain(found: Preview) -> dict[str, object]:
    return {
        "texts": found.rows,
        "tokens": found.tokens,
        "learned": found.trained,
        "faults": [{"what": what, "texts": count, "first": found.first[what]} for what, count in found.faults.items()],
        "shown": [seen._asdict() for seen in found.shown],
    }
