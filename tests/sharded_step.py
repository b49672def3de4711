# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A step of stage 3 with the weights spread over processes by FSDP2, each of which has clips of other media.

torchrun --standalone --nproc_per_node 2 tests/sharded_step.py MODEL OUT
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tiny_inputs import clips, tensors
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoProcessor

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train.stage3_sft import Arguments, adapt, declared
from xemogpt.train.trainer import OnlyDeclaredMoves

MAX_NORM, LEARNING_RATE, STEPS = 0.5, 0.1, 2
BATCHES = ((1, 2), (4, 0))  # of tiny_inputs.clips, by step and process: picture and voice; neither and both


def adapted(model: Path) -> Any:
    torch.manual_seed(0)
    return adapt(XEmoGPTForConditionalGeneration.from_pretrained(model), Arguments(lora_r=2, lora_dropout=0.0)).train()


def batches(model: Path) -> list[list[dict[str, torch.Tensor]]]:
    processor = AutoProcessor.from_pretrained(model, trust_remote_code=True)
    given = clips(processor)
    return [[tensors(processor, [given[index]], answer=True) for index in step] for step in BATCHES]


def train(model: Any, steps: list[list[dict[str, torch.Tensor]]]) -> list[float]:
    """Norms of the gradients, that of a step being the mean over its batches, which is what FSDP reduces to.

    The first step is checked as that of every run; on the second process the shard of the position embedding
    (1, 16, d) is empty.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, LEARNING_RATE)
    check, norms = OnlyDeclaredMoves(declared(model), model), []
    for step in steps:
        for batch in step:
            (model(**batch).loss / len(step)).backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, MAX_NORM)
        norms.append((norm.full_tensor() if isinstance(norm, DTensor) else norm).item())
        check.on_pre_optimizer_step(None, None, None, model=model, optimizer=optimizer)
        optimizer.step()
        check.on_optimizer_step(None, None, None, model=model, optimizer=optimizer)
        optimizer.zero_grad()
    assert check.pulled
    return norms


def main(folder: Path, out: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model, mesh = adapted(folder), init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.base_model.model.model.language_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    norms = train(model, [[step[rank]] for step in batches(folder)])
    whole = {name: parameter.full_tensor() for name, parameter in model.named_parameters()}
    if rank == 0:
        torch.save({"norms": norms, "weights": {name: value.detach() for name, value in whole.items()}}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
