# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Weight-only int8 for the LLM on the CPU: half the bytes that every generated token has to read.

xemogpt explain clip.mp4 --model folder --dtype int8

model = AutoModelForMultimodalLM.from_pretrained(folder, dtype="bfloat16", trust_remote_code=True)
to_int8(model)
model.generate(**inputs, cache_implementation="static")  # faster here, with or without int8
"""

import ctypes
import mmap
import sys
from typing import Any

import torch
from torch import nn

PAGEOUT = 21  # MADV_PAGEOUT of Linux
FEW_ROWS = 16  # up to here a product costs what reading its weights costs; above, what its arithmetic costs


class Int8Linear(nn.Module):
    """A linear layer that keeps int8 weights, each output row with its own scale; activations stay bfloat16.

    Args:
        linear: the layer to replace, weight (out, in). Rounding errs by at most half a step, |row|.max() / 254.
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach()
        scale = (weight.abs().amax(1).float().clamp(min=1e-12) / 127).to(weight.dtype)  # as rounded, so divided by
        rounded = torch.empty(weight.shape, dtype=torch.int8)
        for rows in torch.arange(len(weight)).split(4096):  # a vocabulary in float32 would be the peak of the memory
            rounded[rows] = (
                torch.round(weight[rows] / scale[rows].float().unsqueeze(1)).clamp(-127, 127).to(torch.int8)
            )
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])
        if rows.shape[0] <= FEW_ROWS:
            product = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scale)
        else:
            product = nn.functional.linear(rows, self.weight.to(rows.dtype)) * self.scale
        if self.bias is not None:
            product = product + self.bias
        return product.view(*hidden_states.shape[:-1], -1)


@torch.no_grad()
def to_int8(model: Any) -> Any:
    """Replaces the linear layers of the LLM and its head in place; towers, bridges and embeddings stay as they are.

    Such a model generates; it can be neither trained nor saved.

    Raises:
        ValueError: the model is not on the CPU in bfloat16, for which alone there is a kernel.
    """
    if model.device.type != "cpu" or model.dtype != torch.bfloat16:
        raise ValueError(f"int8 needs a bfloat16 model on the CPU, not {model.dtype} on {model.device}")
    language_model = model.model.language_model
    for name, module in list(language_model.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(language_model.get_submodule(parent), child, Int8Linear(module))
            _page_out(module.weight)
    model.lm_head = Int8Linear(model.lm_head)
    model._tied_weights_keys = None  # the head has weights of its own now
    return model


def _page_out(tensor: torch.Tensor) -> None:
    """Let the system have the memory of a tensor back that is not needed any more but stays mapped to its file.

    A checkpoint is mapped as a whole, so that what was read of it counts as held. This is advice: no content is lost,
    whoever else uses the tensor reads it again. Elsewhere than on Linux nothing is done.
    """
    if sys.platform != "linux":
        return
    start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (tensor.data_ptr() + tensor.nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), PAGEOUT)
