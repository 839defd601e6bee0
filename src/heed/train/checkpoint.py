"""Checkpoints: everything a run needs to go on as if it had never been stopped, written so that a kill cannot tear them.

A checkpoint is a folder ``step-N`` with ``tensors.safetensors`` (weights and optimiser moments) and ``state.json`` (step,
coefficients, history). Random states need no room in it: every random number of a run is drawn from a generator seeded
by the run's seed and the step.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heed.errors import ProjectError, TrainingError

_KEEP = 2
_NAME, _DRAFT = re.compile(r"step-(\d+)"), re.compile(r"\.draft-(\d+)")


class Saved(NamedTuple):
    """A checkpoint as read back: the step it was taken after, tensors by name, and JSON-able numbers."""

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in a folder of their own; the newest two are kept.

    Args:
        folder: where they are written; made when first needed.
        fingerprint: hash of everything that decides the run's numbers. A folder that holds another run's checkpoints
            is refused.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, step: int, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Write the state after ``step``.

        Raises:
            ProjectError: the disk is full or the folder cannot be written; earlier checkpoints stay as they were.
        """
        draft = self.folder / f".draft-{os.getpid()}"
        try:
            self._remove_drafts()
            draft.mkdir(parents=True)
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, draft / "tensors.safetensors")
            state = {"step": step, "fingerprint": self.fingerprint, "numbers": numbers}
            (draft / "state.json").write_text(json.dumps(state), encoding="utf-8")
            for file in draft.iterdir():
                _flush(file)
            self._discard(step)
            draft.rename(self.folder / f"step-{step}")
            _flush(self.folder)
            for old in self._steps()[:-_KEEP]:
                self._discard(old)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise write_error(error, self.folder) from error

    def latest(self) -> Saved | None:
        """The newest checkpoint, or None.

        Raises:
            ProjectError: it belongs to a run with other settings or data, or none that is there can be read.
        """
        damaged = ""
        for step in reversed(self._steps()):
            folder = self.folder / f"step-{step}"
            try:
                state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                saved = Saved(state["step"], load_file(folder / "tensors.safetensors"), state["numbers"])
                fingerprint = state["fingerprint"]
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                # heed writes a checkpoint whole or not at all, but disks and people damage files: the one before serves.
                damaged = f"{folder.name}: {error}"
                continue
            if fingerprint != self.fingerprint:
                raise ProjectError(
                    f"{self.folder} holds the checkpoints of another run",
                    "its settings, seed or data differ from those of this one.",
                    "Choose another folder, or delete this one if that run is not needed.",
                )
            return saved
        if damaged:
            raise ProjectError(
                f"no checkpoint in {self.folder} can be read",
                f"{damaged}.",
                "Delete that folder to begin the run anew.",
            )
        return None

    def clear(self) -> None:
        """Delete all checkpoints, once the run is done."""
        for step in self._steps():
            self._discard(step)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_drafts(self) -> None:
        """Remove what this process, or one that is no more, left behind half-written: each as large as a checkpoint."""
        for left in self.folder.glob(".draft-*"):
            writer = _DRAFT.match(left.name)
            if writer and (int(writer[1]) == os.getpid() or not _alive(int(writer[1]))):
                shutil.rmtree(left, ignore_errors=True)

    def _discard(self, step: int) -> None:
        """Delete a checkpoint. It loses its name first: a kill must not leave half of one that looks like a whole."""
        folder = self.folder / f"step-{step}"
        if folder.is_dir():
            shutil.rmtree(folder.rename(self.folder / f".draft-{os.getpid()}-old-{step}"), ignore_errors=True)

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(m[1]) for entry in self.folder.iterdir() if (m := _NAME.fullmatch(entry.name)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(error: Exception, folder: Path) -> ProjectError:
    """What a failed write means to the person at the keyboard."""
    # safetensors tells the system's error number in its text only.
    told = re.search(r"os error (\d+)", str(error))
    number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return ProjectError(
            f"cannot write to {folder}",
            "the disk is full.",
            "Make room and give the same command again: it goes on from the last checkpoint.",
        )
    return ProjectError(f"cannot write to {folder}", f"{error}.", "Check that the folder exists and is writable.")


def named_parameters(networks: dict[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Each parameter of some networks once, by a stable name; tied weights keep the first of their names."""
    return {f"{net}.{name}": p for net, module in networks.items() for name, p in module.named_parameters()}


def training_state(parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and optimiser moments by name. The values are copies: later steps do not change them."""
    tensors = {f"weight/{name}": p.detach().clone() for name, p in parameters.items()}
    for name, p in parameters.items():
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"{key}/{name}"] = torch.as_tensor(value).detach().clone()
    return tensors


@torch.no_grad()
def restore_training_state(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what ``training_state`` took.

    Raises:
        TrainingError: the names do not fit this model.
    """
    missing = [name for name in parameters if f"weight/{name}" not in tensors]
    if missing:
        raise TrainingError(
            "the checkpoint does not fit the model", f"it lacks {missing[0]}.", "Start the run anew in another folder."
        )
    optimizer.state.clear()
    for name, p in parameters.items():
        p.copy_(tensors[f"weight/{name}"])
        moments = {
            key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in tensors
        }
        if moments:
            optimizer.state[p] = {k: v.clone().to(p.device if k != "step" else v.device) for k, v in moments.items()}


def adamw(groups: Sequence[dict[str, Any]], weight_decay: float = 0.0) -> torch.optim.AdamW:
    """AdamW with betas 0.9 and 0.95; epsilon 1e-5 as in the published PPO (Huang et al. 2024, detail 12)."""
    return torch.optim.AdamW(list(groups), betas=(0.9, 0.95), eps=1e-5, weight_decay=weight_decay, fused=True)
