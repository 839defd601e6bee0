"""``heed pretrain``: a backbone for a reward model, from texts and what was said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from heed.terminal.console import report_broken
from heed.terminal.options import Choices, Config, Device, Quiet, Seed, Set
from heed.terminal.stages import print_result


def pretrain(
    model: Annotated[str, typer.Option(metavar="PATH", help="Backbone to begin with: a folder or a hub id.")],
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="Texts and judgments of them, in any format that heed imports.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")],
    method: Annotated[
        Literal["simclr", "moco", "swav"],
        typer.Option(
            help="NT-Xent among a step's texts, a slow encoder with a queue, or clusters that one view foretells of the other."
        ),
    ] = "simclr",
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Pretrain the backbone of a reward model: texts that belong together come together, others part.

    Texts of like quality for the same kind of prompt belong together; of texts that nobody judged, two views of each. Give the
    result to heed train reward --model.
    """
    from heed.stages.contrastive import pretrain as stage
    from heed.stages.contrastive import read_written
    from heed.terminal.watcher import watching
    from heed.training_settings import ContrastiveSettings

    settings = Choices("contrastive", config, sets or ()).settings(ContrastiveSettings())
    written, broken = read_written(data)
    report_broken(data, broken)
    with watching(quiet) as watcher:
        result = stage(model, written, out, method, settings, seed or 0, device or "auto", watcher)
    print_result(result)
