"""``heed merge``: a whole model of an adapter and its base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heed.terminal.models import policy_source, project_around
from heed.terminal.options import Quiet
from heed.terminal.stages import print_result


def merge(
    model: Annotated[str, typer.Argument(metavar="RUN|PATH", help="An adapter: a run of the project, or a folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")],
    quiet: Quiet = False,
) -> None:
    """Add an adapter (lora.rank above 0) to its base: a whole model, as plain transformers load it."""
    from heed.stages.merging import merge_adapter
    from heed.terminal.watcher import watching

    with project_around(needed=False) as project:
        folder, _ = policy_source(model, project)
    with watching(quiet) as watcher:
        result = merge_adapter(folder, out, watcher)
    print_result(result)
