# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The Trainer of stages 1 and 2: the loss over the global batch, nothing waiting for the device, evaluation within."""

from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import EvalPrediction, Trainer, TrainerCallback

from xemogpt.train.alignment_metrics import recognition, retrieval, temporal_accuracy
from xemogpt.train.alignment_model import AudioAlignment, VideoAlignment
from xemogpt.train.losses import (
    MAX_LOGIT_SCALE,
    draw_masks,
    draw_orders,
    info_nce,
    masked_frame_loss,
    stage1_loss,
    temporal_order_loss,
)
from xemogpt.train.trainer import CheckedTrainer


class AlignmentCallback(TrainerCallback):
    """Keeps the temperature within [.01, 1], as CLIP's is."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        head = getattr(model, "module", model).head
        with torch.no_grad():
            head.logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)


class AlignmentTrainer(CheckedTrainer, Trainer):
    """Trains a `VideoAlignment` (equation 7) or an `AudioAlignment` (equation 8).

    The shuffles and masks of a step follow from the seed and the step alone, for the whole global batch: a resumed run
    and one on more processes draw the same.

    Args:
        encoder: the cue encoder that the model is part of; its towers run in the step where batches hold media.
        temporal_weight, reconstruction_weight: w1 and w2 of equation 7. mask_ratio: share of frames masked.
        class_embeddings: (C, text size), the frozen text tower's vectors of the class prompts.
    """

    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: VideoAlignment | AudioAlignment,
        encoder: Any,
        temporal_weight: float = 0.0,
        reconstruction_weight: float = 0.0,
        mask_ratio: float = 0.5,
        class_embeddings: torch.Tensor | None = None,
        **kwargs: Any,
    ):
        super().__init__(model=model, declared=model.declared(), **kwargs)
        self.encoder, self.class_embeddings = encoder, class_embeddings
        self.temporal_weight, self.reconstruction_weight = temporal_weight, reconstruction_weight
        self.mask_ratio = mask_ratio
        self.add_callback(AlignmentCallback())
        self.compute_metrics = self._metrics
        self._parts: dict[str, torch.Tensor] = {}  # sums since the last log, on the device
        self._steps, self._micro_step, self._micro_of = 0, 0, -1

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        features, mask = self.features(inputs)
        arguments = {"features": features, "text_embeddings": inputs["text_embeddings"]}
        if mask is not None:
            arguments["features_mask"] = mask
        arguments |= self._draw(features, inputs, model.training)
        outputs = model(**arguments)
        keys = (inputs["text_keys"], inputs["clip_keys"])
        parts = {"contrastive": info_nce(outputs["media"], outputs["texts"], outputs["logit_scale"], *keys)}
        if "ordered" in outputs:
            parts["temporal"] = temporal_order_loss(outputs["ordered"], outputs["shuffled"])
        if "reconstructed" in outputs:
            parts["reconstruction"] = masked_frame_loss(outputs["reconstructed"], features, arguments["masked"])
        loss = stage1_loss(parts, self.temporal_weight, self.reconstruction_weight)
        if model.training:
            self._steps += 1
            for name, part in (parts | {"logit_scale": outputs["logit_scale"]}).items():
                self._parts[name] = self._parts.get(name, 0) + part.detach()
        return (loss, outputs) if return_outputs else loss

    def features(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the tower makes of the batch, from the batch or from the tower itself."""
        if "features" in inputs:
            return inputs["features"], inputs.get("features_mask")
        return self.encoder.get_tower_features(**inputs["media"])

    def _draw(self, features: torch.Tensor, inputs: dict[str, Any], training: bool) -> dict[str, torch.Tensor]:
        """Wrong orders and masks for this rank's clips, drawn on the CPU so that they are the same on every device."""
        if not (self.temporal_weight or self.reconstruction_weight):
            return {}
        count, length = features.shape[:2]
        drawn = {}
        if training:
            if self._micro_of != self.state.global_step:
                self._micro_of, self._micro_step = self.state.global_step, 0
            generator = torch.Generator().manual_seed(
                self.args.seed * 1_000_003 + self.state.global_step * 1009 + self._micro_step
            )
            self._micro_step += 1
            own = slice(self.args.process_index * count, (self.args.process_index + 1) * count)
            total = count * self.args.world_size
            if self.temporal_weight:
                drawn["orders"] = draw_orders(total, length, generator)[own]
            if self.reconstruction_weight:
                drawn["masked"] = draw_masks(total, length, self.mask_ratio, generator)[own]
        else:  # of each clip its own, whatever batch it is in
            generators = [torch.Generator().manual_seed(key) for key in inputs["clip_keys"].tolist()]
            if self.temporal_weight:
                drawn["orders"] = torch.cat([draw_orders(1, length, each) for each in generators])
            if self.reconstruction_weight:
                drawn["masked"] = torch.cat([draw_masks(1, length, self.mask_ratio, each) for each in generators])
        if features.is_cuda:
            drawn = {name: value.pin_memory() for name, value in drawn.items()}
        return {name: value.to(features.device, non_blocking=True) for name, value in drawn.items()}

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, Any, Any]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        names = [name for name in ("media", "texts", "ordered", "shuffled") if name in outputs]
        return (
            loss.detach(),
            tuple(outputs[name].float() for name in names),
            (inputs["text_keys"], inputs["labels"]),
        )

    def _metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Over the whole validation set, from all ranks: other than the loss, which is that of each batch alone."""
        media, texts, *order = prediction.predictions
        keys, labels = prediction.label_ids
        found = retrieval(media, texts, keys)
        if order:
            found |= temporal_accuracy(*order)
        if self.class_embeddings is not None and len(self.class_embeddings):
            projection = self.accelerator.unwrap_model(self.model).head.text_projection
            with torch.no_grad():
                classes = projection(self.class_embeddings.to(projection.weight))
            found |= recognition(media, classes.float().cpu().numpy(), labels)
        return found

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs and self._steps:  # of this rank, as the parts are for watching only
            logs |= {name: (value / self._steps).item() for name, value in self._parts.items()}
            self._parts, self._steps = {}, 0
        super().log(logs, *args, **kwargs)

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Weight decay for matrices alone: no bias, norm, vector, temperature or position embedding."""
        return [
            name
            for name, parameter in model.named_parameters()
            if parameter.ndim >= 2 and "position_embedding" not in name
        ]

    def row_lengths(self, dataset: Any) -> list[int]:
        if dataset.cache is None:
            raise ValueError("train_sampling_strategy group_by_length needs a cache, which knows how long clips are")
        return dataset.lengths()

    def _get_eval_sampler(self, eval_dataset: Any) -> SequentialSampler:
        """In order: to group by length, the Trainer would look for tokens."""
        return SequentialSampler(eval_dataset)
