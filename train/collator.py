# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""From instructions to a batch: through the one processor that inference uses, plus labels and modality gates."""

from typing import Any

import torch

from xemogpt.data.jsonl import one_line
from xemogpt.processing_xemogpt import ANSWERS
from xemogpt.train.instructions import ALONE, GATES
from xemogpt.train.trainer import IDS

BLOCKS = {"visual": "video", "audio": "audio"}  # what of a message a kind asks about


class InstructionCollator:
    """Makes the inputs of `XEmoGPTForConditionalGeneration.forward` from rows of instructions.

    In: rows such as

        {"id": "a#visual-en", "kind": "visual", "language": "en", "video": "a.mp4", "audio": None,
         "subtitle": "Well.", "answer": "In the video, she frowns."}

    Out, for B rows of which N have the medium:

        {"input_ids": (B, S), "attention_mask": (B, S),           # padded on the left, as in generation
         "labels": (B, S),                                        # -100 but on the answer and its end token
         "pixel_values_videos": (N, T, 3, H, W), "input_values": (N, L), "input_values_mask": (N, L),
         "modality_gates": tensor([[True, False]]),               # (B, 2) bool, columns [visual, audio]
         "ids": ["a#visual-en"]}

    Args:
        processor: an `XEmoGPTProcessor`. gating: False opens all gates (the ablation without gradient gating).

    Raises:
        KeyError: a row without one of the keys; lists those it has.
        ValueError: a medium that cannot be decoded, or one that is asked about but is not there; names the row.
    """

    KEYS = ("id", "kind", "language", "video", "audio", "subtitle", "answer")

    def __init__(self, processor: Any, gating: bool = True):
        self.processor, self.gating = processor, gating

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows to tensors."""
        conversations = []
        for row in rows:
            missing = [key for key in self.KEYS if key not in row]
            if missing:
                raise KeyError(f"an instruction needs {', '.join(missing)}; this row has {', '.join(row)}")
            conversations.append(self.conversation(row))
        batch = dict(self.tensors(rows, conversations))
        answer = batch.pop("assistant_masks").bool()
        for row, marked in zip(rows, answer.any(1).tolist(), strict=True):
            if not marked:
                raise ValueError(
                    f"{row['id']}: no answer is found in the prompt: train with the processor's own template"
                )
        batch["labels"] = batch["input_ids"].masked_fill(~answer, -100)
        batch["modality_gates"] = torch.tensor([GATES[row["kind"]] if self.gating else (True, True) for row in rows])
        batch[IDS] = [row["id"] for row in rows]
        return batch

    def conversation(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of a row, with the answer."""
        try:
            asked = {"instruction": ""} if row["kind"] in ALONE else {"task": row["kind"], "language": row["language"]}
            messages = self.processor.conversation(row["video"], row["audio"], row["subtitle"], **asked)
        except (ValueError, FileNotFoundError) as error:  # not a system that fails: the next run looks again
            raise ValueError(f"{row['id']}: {one_line(error)}") from error
        needed = BLOCKS.get(ALONE.get(row["kind"], row["kind"]))
        if needed is not None and all(block["type"] != needed for block in messages[0]["content"]):
            raise ValueError(f"{row['id']}: the clip has no {needed}: leave the row out, as `check: true` does")
        return [*messages, {"role": "assistant", "content": row["answer"]}]

    def count(self, conversation: list[dict[str, Any]]) -> int:
        """Tokens of a conversation, each medium counted as one; nothing is decoded."""
        parts = ANSWERS.split(self.processor.apply_chat_template(conversation))  # which no token spans
        return sum(
            len(self.processor.tokenizer(part, add_special_tokens=False)["input_ids"]) for part in parts if part
        )

    def tensors(self, rows: list[dict[str, Any]], conversations: list[Any]) -> Any:
        """What the processor makes of conversations, with `assistant_masks`; what fails names its row."""
        settings = {"return_dict": True, "return_tensors": "pt", "return_assistant_tokens_mask": True}
        try:
            return self.processor.apply_chat_template(conversations, tokenize=True, **settings)
        except (ValueError, OSError) as error:
            for row, conversation in zip(rows, conversations, strict=True):  # whose fault is it?
                try:
                    self.processor.apply_chat_template([conversation], tokenize=True, **settings)
                except (ValueError, OSError) as own:
                    raise ValueError(f"{row['id']}: {one_line(own)}") from own
            raise ValueError(f"{', '.join(row['id'] for row in rows)}: {one_line(error)}") from error
