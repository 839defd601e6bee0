"""Actors: processes that sample with an earlier copy of the policy while it learns.

The rollout of step k is drawn by the policy as it was ``staleness`` updates before, neither older nor newer, however fast each
side is: a run repeats bit for bit. With a staleness of 0 an actor samples what the loop itself would (Mnih et al. 2016, "Asynchronous
Methods for Deep Reinforcement Learning", with the bounded lag of Espeholt et al. 2018, "IMPALA").
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from heed.config import SamplingSettings
from heed.errors import TrainingError
from heed.models.decode import Samples
from heed.models.policy import Policy
from heed.train.actor import packed, receive, send, unpacked

_SHOWN = 400
_PREFIX = "under_way"
_SECONDS_TO_END = 5


class Job(NamedTuple):
    """What an actor is to sample for a step: prompts as token ids, how, and from which seed."""

    step: int
    prompts: Sequence[Sequence[int]]
    sampling: SamplingSettings
    seed: int


class Actors:
    """As many actors as rollouts are under way at once, one at least; a context, in which they run.

    Args:
        policy: as it is when the actors start; later weights are sent with each job.
        staleness: updates between the policy that samples for a step and the one that learns from it (count).
        head: whether a head on the policy's trunk gives values on the way.
    """

    def __init__(self, policy: Policy, staleness: int, head: bool) -> None:
        self.policy, self.staleness, self.head = policy, staleness, head
        self._processes: list[subprocess.Popen[bytes]] = []
        self._errors: list[IO[bytes]] = []
        self._asked: dict[int, int] = {}
        self._ready: dict[int, tuple[Samples, int]] = {}
        self._closing = contextlib.ExitStack()
        self._folder, self._loaded = Path(), set[int]()

    def __enter__(self) -> Actors:
        count, threads = max(1, self.staleness), torch.get_num_threads()
        each = threads
        if self.staleness:
            # They run beside the learner, which has what is left.
            each = max(1, threads // (count + 1))
            torch.set_num_threads(max(1, threads - count * each))
        self._closing.callback(torch.set_num_threads, threads)
        folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="heed-actors-")))
        self._folder, self._loaded = folder / "policy", set()
        self.policy.save(self._folder)
        computed = self.policy.body.dtype
        first = {
            "folder": str(self._folder),
            "device": str(self.policy.device),
            "dtype": str(self.policy.model.dtype).removeprefix("torch."),
            "end_ids": sorted(self.policy.end_ids),
            "computed": None if computed is None else str(computed).removeprefix("torch."),
            "head": self.head,
            "threads": each,
        }
        try:
            for _ in range(count):
                self._start(first, folder)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self, first: Mapping[str, Any], folder: Path) -> None:
        errors = self._closing.enter_context((folder / f"errors-{len(self._processes)}").open("w+b"))
        process = subprocess.Popen(
            # -P: no module of the folder that heed was called in stands in for one of Python's.
            [sys.executable, "-P", "-W", "ignore", "-m", "heed.train.actor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": str(first["threads"])},
            start_new_session=True,  # a Ctrl-C is the learner's to hear, from the first moment on
        )
        self._processes.append(process)
        self._errors.append(errors)
        self._say(len(self._processes) - 1, first, {})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()
            try:
                process.wait(0.0 if self._asked else _SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        self._errors.clear()
        self._closing.close()

    @property
    def empty(self) -> bool:
        """Whether no rollout is under way or there."""
        return not self._asked and not self._ready

    def ask(self, job: Job, version: int, weights: Mapping[str, Tensor]) -> None:
        """Have a job done with ``weights``, those of the policy after ``version`` updates.

        Raises:
            TrainingError: the actor has ended.
        """
        message = {
            "prompts": [list(prompt) for prompt in job.prompts],
            "sampling": job.sampling.model_dump(),
            "seed": job.seed,
        }
        self._say(self._place(job.step), message, weights)
        self._asked[job.step] = version

    def take(self, step: int) -> tuple[Samples, int]:
        """What was sampled for ``step``, once it is there, and the number of updates that the policy had then.

        Raises:
            TrainingError: the actor has ended.
        """
        if step in self._ready:
            return self._ready.pop(step)
        version = self._asked[step]
        stream = self._processes[self._place(step)].stdout
        assert stream is not None
        answer = receive(stream)
        if answer is None:
            raise self._ended(self._place(step))
        self._loaded.add(self._place(step))
        if len(self._loaded) == len(self._processes):
            # All have it in memory. Killed, this process could not remove it, and it is as large as the model.
            shutil.rmtree(self._folder, ignore_errors=True)
        del self._asked[step]
        return unpacked(*answer), version

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What is under way, once it is there: a checkpoint has it, for the policy that sampled it is no more."""
        for step in sorted(self._asked):
            self._ready[step] = self.take(step)
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, Any] = {}
        for step, (samples, version) in self._ready.items():
            told, grids = packed(samples)
            tensors |= {f"{_PREFIX}/{step}/{name}": value for name, value in grids.items()}
            numbers[str(step)] = {**told, "version": version}
        return tensors, numbers

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Put back what ``state`` took."""
        for step, told in numbers.items():
            start = f"{_PREFIX}/{step}/"
            grids = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            self._ready[int(step)] = unpacked(told, grids), told["version"]

    def _place(self, step: int) -> int:
        return step % len(self._processes)

    def _say(self, place: int, message: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        stream = self._processes[place].stdin
        assert stream is not None
        try:
            send(stream, message, tensors)
        except OSError as error:
            raise self._ended(place) from error

    def _ended(self, place: int) -> TrainingError:
        process, errors = self._processes[place], self._errors[place]
        try:
            code = process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            code = None
        errors.seek(0)
        lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"a signal ({-code})" if code is not None and code < 0 else f"exit code {code}"
        last = f": {lines[-1][:_SHOWN]}" if lines else ", without a word"
        return TrainingError(
            f"actor {place + 1} of {len(self._processes)} has ended",
            f"it ended by {how}{last}.",
            "Give the same command again: it goes on from the last checkpoint. If memory was short, lower policy.staleness.",
        )
