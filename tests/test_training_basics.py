# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What training relies on: the loss averages right, what is trainable moves and nothing else, PEFT works."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_inputs import clips, tensors
from tiny_model import make_tiny_model
from transformers import AutoProcessor, Trainer, TrainingArguments

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

BRIDGES = ["video_bridge", "audio_bridge", "video_projector", "audio_projector"]
LORA = {
    "r": 4,
    "target_modules": r"model\.language_model\..*\.(q_proj|k_proj|v_proj)",  # a bare name would also hit the towers
    "modules_to_save": BRIDGES,
    "task_type": "CAUSAL_LM",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return AutoProcessor.from_pretrained(folder, trust_remote_code=True)


def load(folder: Path) -> XEmoGPTForConditionalGeneration:
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    for module in model.model.audio_bridge.modules():  # the only dropout of this model
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


class Messages(torch.utils.data.Dataset):
    """Four conversations of both media, as they are: the collator makes the tensors."""

    def __init__(self, processor: Any):
        made = clips(processor)
        self.rows = [{"messages": made[index]} for index in (0, 3, 0, 3)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def train(folder: Path, processor: Any, out: Path, batch: int, accumulation: int) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        learning_rate=1e-3,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        save_strategy="no",
        seed=0,
    )
    trainer = Trainer(
        model=load(folder),
        args=arguments,
        train_dataset=Messages(processor),
        data_collator=lambda rows: tensors(processor, [row["messages"] for row in rows], answer=True),
    )
    trainer.train()
    return trainer


def test_accumulated_batches_equal_one_and_only_the_trainable_moves(
    folder: Path, processor: Any, tmp_path: Path
) -> None:
    whole = train(folder, processor, tmp_path / "whole", 4, 1)
    parts = train(folder, processor, tmp_path / "parts", 2, 2)
    losses = [trainer.state.log_history[0]["loss"] for trainer in (whole, parts)]
    norms = [trainer.state.log_history[0]["grad_norm"] for trainer in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)

    before = load(folder).state_dict()
    moved = {name for name, value in whole.model.state_dict().items() if not torch.equal(value, before[name])}
    expected = {name for name, p in whole.model.named_parameters() if p.requires_grad and "cue_head" not in name}
    biases = {name for name in expected if name.endswith("k_proj.bias")}  # softmax cancels them: no gradient
    assert expected - biases <= moved | {"lm_head.weight"}
    assert not any("tower" in name or "cue_head" in name for name in moved)


@pytest.mark.slow
def test_lora_on_the_llm_with_bridges_saved_whole(folder: Path, processor: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = get_peft_model(load(folder), LoraConfig(**LORA)).train()
    base = model.get_base_model()
    assert not base.model.vision_tower.training
    assert not base.model.audio_tower.training
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all("lora_" in name or any(part in name for part in BRIDGES) for name in trainable)
    assert not any("tower" in name for name in trainable)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if name not in trainable}

    inputs = tensors(processor, clips(processor)[:2], answer=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    first = model(**inputs).loss
    for _ in range(3):
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        output = model(**inputs)
    assert output.loss < first
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)

    model.save_pretrained(tmp_path / "adapter")
    again = load(folder)
    again.load_adapter(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, output.logits, atol=1e-5, rtol=1e-5)
        again.disable_adapters()
        untouched = load(folder).eval()(**inputs).logits
        merged = copy.deepcopy(model).merge_and_unload()
        torch.testing.assert_close(merged(**inputs).logits, output.logits, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(untouched, output.logits, atol=1e-3)
