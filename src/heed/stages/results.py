"""What every training stage shares: its output folder, its fingerprint, its machine set-up, its measure of memory."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from heed.errors import ConfigError, ProjectError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.files import file_errors, shown_entries, write_text
from heed.lock import FileLock
from heed.memory import look_as_usual
from heed.texts import text_fault
from heed.train.checkpoint import Checkpoints, write_error

CARD = "heed.json"
TRAINED_ON = "trained_on.json"
"""Beside a model: ids of the prompts that it learned from, so that whoever measures it on them can say so."""
_CHECKPOINTS, _LOCK = "checkpoints", ".heed-run"


@dataclass(frozen=True)
class StageResult:
    """What a training stage left behind.

    Attributes:
        folder: the model it made.
        metrics: figures by name, JSON-able, the per-step history among them.
        verdict: what happened, in words.
        tokens: tokens trained on or sampled (count).
        seconds: wall-clock time of the work (seconds).
    """

    folder: Path
    metrics: dict[str, Any]
    verdict: str
    tokens: int
    seconds: float


def plain(prompt: PromptContent) -> object:
    """A prompt as JSON holds it."""
    return prompt if isinstance(prompt, str) else [[m.role, m.content] for m in prompt]


def output_folder(folder: str | Path, sources: Sequence[str | Path] = ()) -> Path:
    """The folder for a model, refused before any work is done for it where a model would be out of place.

    Fit is a folder that is new or empty, or that holds a run of heed, finished or not.

    Args:
        folder: what was asked for.
        sources: models that the run reads.

    Raises:
        ProjectError: it is one of the sources, the current folder or a file, holds something else, or is not UTF-8.
    """
    place = Path(folder)
    if fault := text_fault(str(place)):
        raise ProjectError(f"folder {place}", f"{fault}, and a model cannot be saved there.", "Choose another folder.")
    with file_errors(f"folder {place}"):
        if place.is_symlink() and not place.exists():
            raise ProjectError(
                f"folder {place}",
                f"it is a link to {place.readlink()}, which does not exist.",
                "Make that folder, or choose another.",
            )
        if any(place.resolve() == Path(source).resolve() for source in sources):
            raise ProjectError(
                f"{place} is what this run reads", "its result would overwrite it.", "Choose another folder."
            )
        if place.exists() and not place.is_dir():
            raise ProjectError(f"folder {place}", "it is a file.", "Choose another folder.")
        found = shown_entries(place) if place.is_dir() else ""
        if place == Path():
            raise ProjectError(
                f"no model goes into the current folder, {place.resolve()}",
                f"a model needs a folder of its own{f', and here are {found}' if found else ''}.",
                "Name one, such as out/model; '.' and an empty name mean the current folder.",
            )
        if found and not (place / CARD).exists() and not (place / _LOCK).exists():
            raise ProjectError(
                f"folder {place}", f"it has {found}, and no run of heed.", "Choose a new or an empty folder."
            )
    return place


@dataclass
class Output:
    """The folder a stage writes to. Unfinished, it holds checkpoints and a lock; finished, a model and ``heed.json``.

    Args:
        folder: made when first needed (see ``output_folder``).
        stage: name of the stage.
        identity: everything that decides the result; the same stage with the same identity is the same run.
    """

    folder: Path
    stage: str
    identity: Mapping[str, Any]
    started: float = field(default_factory=time.monotonic)

    @property
    def fingerprint(self) -> str:
        text = json.dumps([self.stage, self.identity], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @contextmanager
    def claimed(self) -> Iterator[StageResult | None]:
        """Keep other processes from writing to the folder inside the block.

        The lock is the operating system's and ends with the process. Its file lies in the folder until the run is done:
        that tells the folder of an unfinished run from a person's own. A run that fails before it has written anything
        leaves nothing.

        Yields:
            The result, where this very run has been finished before; else None.

        Raises:
            ProjectError: another process is writing to the folder, or it holds the result of another run or cannot be
                written to.
        """
        finished = self._finished()
        if finished is not None:
            yield finished
            return
        new = not self.folder.exists()
        with file_errors(f"folder {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK, f"folder {self.folder}", "Let that end first, or choose another folder.")
        lock.acquire()
        try:
            yield self._finished()  # who held the lock a moment ago may have finished it
        finally:
            untouched = self._untouched()
            lock.release(remove=untouched or (self.folder / CARD).exists())
            if untouched and new:
                with suppress(OSError):  # somebody else has begun a run there since
                    self.folder.rmdir()

    def _untouched(self) -> bool:
        """Whether nothing but the lock lies in the folder."""
        try:
            return {entry.name for entry in self.folder.iterdir()} <= {_LOCK}
        except OSError:
            return False

    def _finished(self) -> StageResult | None:
        card = self.folder / CARD
        if not card.is_file():
            return None
        try:
            found = dict(json.loads(card.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ProjectError(
                f"{card} cannot be read", f"{error}.", "Choose another folder, or delete this one if it is not needed."
            ) from None
        if found.get("fingerprint") != self.fingerprint:
            raise ProjectError(
                f"{self.folder} already holds the result of another {found.get('stage', '')} run",
                "its model, data, settings or seed differ from those given now.",
                "Choose another folder with --out.",
            )
        # There still, if the process was killed between putting down its result and clearing up.
        Checkpoints(self.folder / _CHECKPOINTS, "").clear()
        with suppress(OSError):  # a finished model serves on a read-only disk as well
            (self.folder / _LOCK).unlink(missing_ok=True)
        return StageResult(self.folder, found["metrics"], found["verdict"], found["tokens"], found["seconds"])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn failures to write into errors that say what to do; safetensors has its own kind.

        Raises:
            ProjectError: the disk is full, or the folder cannot be written to.
        """
        with file_errors(f"folder {self.folder}"):
            try:
                yield
            except SafetensorError as error:
                raise write_error(error, self.folder) from error

    def checkpoints(self, name: str = "main") -> Checkpoints:
        return Checkpoints(self.folder / _CHECKPOINTS / name, self.fingerprint)

    def finish(self, metrics: dict[str, Any], verdict: str, tokens: int) -> StageResult:
        """Put down the result, once the model's files are in the folder; checkpoints go."""
        seconds = time.monotonic() - self.started
        card: dict[str, Any] = {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "identity": self.identity,
            "metrics": metrics,
        }
        card |= {"verdict": verdict, "tokens": tokens, "seconds": seconds, "peak_memory_mib": peak_memory_mib()}
        with self.writing():
            draft = self.folder / f".{CARD}"
            draft.write_text(json.dumps(card, indent=1, default=str) + "\n", encoding="utf-8")
            os.replace(draft, self.folder / CARD)
        Checkpoints(self.folder / _CHECKPOINTS, "").clear()
        return StageResult(self.folder, metrics, verdict, tokens, seconds)


def tell_trained_on(folder: Path, prompts: Iterable[PromptContent]) -> None:
    """Write which prompts a model learned from beside it, as their ids."""
    write_text(folder / TRAINED_ON, json.dumps(sorted({prompt_id(prompt) for prompt in prompts})) + "\n")


def trained_on(folder: str | Path) -> frozenset[str] | None:
    """Ids of the prompts that the model in this folder learned from; None where nothing says so."""
    try:
        found = json.loads((Path(folder) / TRAINED_ON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(found, list) and all(isinstance(identity, str) for identity in found)
    return frozenset(found) if known else None


def content_hash(value: Any) -> str:
    """Hash of JSON-able data, for a stage's identity."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def peak_memory_mib() -> float:
    """Peak resident memory of this process so far (MiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare_machine(device: str, threads: int = 0) -> str:
    """Set threads, choose the device and quiet the loading bars of libraries.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: processor threads (count); 0 leaves torch's own choice, which is all cores unless OMP_NUM_THREADS says less.

    Returns:
        "cpu", "cuda" or "cuda:N".

    Raises:
        ConfigError: the device is not there.
    """
    import torch
    from transformers.utils import logging

    look_as_usual()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    name, _, number = device.partition(":")
    if name != "cuda" or not (number.isdecimal() or device == "cuda"):
        raise ConfigError(f"device '{device}'", "there is no such device.", "Use auto, cpu, cuda or cuda:N.")
    found = torch.cuda.device_count()
    if int(number or 0) >= found:
        why = f"this machine has {found} CUDA devices, counted from 0." if found else "this machine has no CUDA device."
        raise ConfigError(f"device '{device}'", why, "Use device 'cpu' or 'auto'.")
    return device
