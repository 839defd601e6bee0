"""Adding an adapter to the weights of its model, as a stage."""

from __future__ import annotations

import shutil
from pathlib import Path

from heed.errors import ConfigError
from heed.stages.identity import model_identity
from heed.stages.results import TRAINED_ON, Output, StageResult, output_folder, prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher


@memory_errors("Merge on a machine that holds the whole model in memory, or give the adapter's folder as it is.")
def merge_adapter(folder: str | Path, out: str | Path, watcher: Watcher | None = None) -> StageResult:
    """Write the model that an adapter makes of its base to ``out``, as plain transformers load it.

    Raises:
        ConfigError: the folder holds no adapter. ModelError: its base is not there. ProjectError: see ``output_folder``.
    """
    from heed.models.adapters import base_of
    from heed.models.policy import Policy

    base, watcher = base_of(folder), watcher or Watcher()
    if base is None:
        raise ConfigError(
            f"{folder} is no adapter",
            "it has no adapter_config.json, or is a whole model.",
            "Give the folder of a run that was trained with lora.rank above 0.",
        )
    place = output_folder(out, [folder, base])
    output = Output(place, "merge", {"adapter": model_identity(folder)})
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {place}")
            return finished
        watcher.say(f"adding {folder} to {base}")
        policy = Policy.load(folder, prepare_machine("cpu"))
        with output.writing():
            policy.save(output.folder)
            if (Path(folder) / TRAINED_ON).is_file():
                shutil.copyfile(Path(folder) / TRAINED_ON, place / TRAINED_ON)
        size = sum(p.numel() for p in policy.parameters())
        return output.finish({"parameters": size, "base": base}, f"A whole model of {size:,} parameters.", 0)
