"""A process that samples with the weights that it is sent: ``python -m heed.train.actor``, its jobs on standard input.

A message is a line of JSON and tensors as safetensors, both behind their lengths; no pickle crosses. The process ends when its
input does, so none outlives the run that started it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping
from typing import IO, Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from heed.models.decode import Samples

_LENGTHS = struct.Struct("<QQ")


def send(stream: IO[bytes], message: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write one message.

    Raises:
        OSError: nobody reads any more.
    """
    told = json.dumps(message).encode()
    carried = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    stream.write(_LENGTHS.pack(len(told), len(carried)))
    stream.write(told)
    stream.write(carried)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Read one message; None where the other side has ended, in the midst of one too."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    told, carried = (stream.read(length) for length in _LENGTHS.unpack(head))
    if len(head) + len(told) + len(carried) < _LENGTHS.size + sum(_LENGTHS.unpack(head)):
        return None
    return json.loads(told), load(carried)


def packed(samples: Samples) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Samples as a message; :func:`unpacked` gives the same back, bit for bit."""
    tensors = {
        "tokens": torch.tensor([token for row in samples.tokens for token in row]),
        "logprobs": torch.tensor([value for row in samples.logprobs for value in row]),
    }
    if samples.values is not None:
        tensors["values"] = torch.tensor([value for row in samples.values for value in row])
    lengths = [len(row) for row in samples.tokens]
    return {"lengths": lengths, "finished": samples.finished, "texts": samples.texts}, tensors


def unpacked(message: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Samples:
    """What :func:`packed` has packed."""
    rows: dict[str, list[list[Any]]] = {
        name: [row.tolist() for row in value.split(message["lengths"])] for name, value in tensors.items()
    }
    return Samples(rows["tokens"], message["finished"], rows["logprobs"], rows.get("values"), message["texts"])


@torch.no_grad()
def _take(parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    for name, value in tensors.items():
        parameters[name].copy_(value)


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Load the policy that the first message names, then do a job a message until there are no more."""
    from heed.config import SamplingSettings
    from heed.models.adapters import load_adapted, trained_part
    from heed.models.decode import sample
    from heed.models.reward import scalar_head
    from heed.train.checkpoint import named_parameters

    first = receive(source)
    if first is None:
        return
    told = first[0]
    torch.set_num_threads(told["threads"])
    policy = load_adapted(told["folder"], told["device"], getattr(torch, told["dtype"]))
    policy.body.dtype = told["computed"] and getattr(torch, told["computed"])
    policy.end_ids = frozenset(told["end_ids"])
    head = scalar_head(policy.model.config.hidden_size, 0).to(policy.device) if told["head"] else None
    parameters = named_parameters({"policy": trained_part(policy.model)} | ({} if head is None else {"head": head}))
    while (job := receive(source)) is not None:
        asked, weights = job
        _take(parameters, weights)
        samples = sample(policy, asked["prompts"], SamplingSettings(**asked["sampling"]), asked["seed"], head)
        send(sink, *packed(samples))


def main() -> None:
    """Serve on the standard streams. What libraries print goes to the error stream."""
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
