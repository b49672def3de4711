# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The course of stages 1 and 2: encoder, pairs, features, training, and the cue encoder that is left."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    TrainingArguments,
    set_seed,
)

from xemogpt.alignment_xemogpt import XEmoGPTCueEncoder
from xemogpt.data.jsonl import JsonLines
from xemogpt.train.alignment_data import AlignmentCollator, Pair, PairDataset, Pairs, read_pairs
from xemogpt.train.alignment_model import build_alignment
from xemogpt.train.alignment_start import AlignmentArguments, load_encoder, plan_encoder, report
from xemogpt.train.alignment_trainer import AlignmentTrainer
from xemogpt.train.checkpoints import last_whole_checkpoint, rows_digest
from xemogpt.train.feature_cache import FeatureCache, Item, Reject, build, weights_digest
from xemogpt.train.run_card import write_outcome
from xemogpt.train.trainer import wait

logger = logging.getLogger(__name__)

# Settings that do not change the course of a run, so that a run may go on with others.
INDIFFERENT = ("cache", "cache_batch_size", "cache_workers", "read_ahead_gb", "max_rejects")


def run(
    arguments: AlignmentArguments,
    training: TrainingArguments,
    media: str,
    dry_run: bool = False,
    alignment: dict[str, Any] | None = None,
    loss: dict[str, Any] | None = None,
    read: Callable[[Any, str, int, int], Any] | None = None,
) -> None:
    """Trains a cue encoder and saves it into `training.output_dir`, from which AutoModel loads it.

    Called again after a kill it goes on from the last checkpoint.

    Args:
        alignment: arguments of the trained module. loss: arguments of `AlignmentTrainer`.
        read: how a clip is decoded in a run without a cache: (processor, path, row, epoch) -> its content.
    """
    set_seed(training.seed)
    encoder: Any
    processor: Any
    encoder, processor = (plan_encoder(arguments, media), None) if dry_run else load_encoder(arguments, media)
    train, evaluation = (
        read_pairs(mixture, media, arguments.text_sources, arguments.label_prompt, training.seed, weighted)
        if mixture
        else Pairs()
        for mixture, weighted in ((arguments.data, True), (arguments.eval_data, False))
    )
    if not train.pairs:
        raise ValueError("data names no manifest: set data: [{manifest: PATH}]")
    if both := sorted({pair.id for pair in train.pairs} & {pair.id for pair in evaluation.pairs}):
        raise ValueError(f"{len(both)} clips are in data and in eval_data, as {both[0]}: validate on others")
    batch = training.train_batch_size * training.world_size
    if training.dataloader_drop_last and len(train.pairs) < batch:
        raise ValueError(f"{len(train.pairs)} pairs do not fill a batch of {batch}: lower per_device_train_batch_size")
    model = build_alignment(encoder, **alignment or {})
    if dry_run:
        sys.stdout.write(report(model, encoder, train, evaluation, training))
        return
    # Towers and features first: where the towers are not needed in the step, they need no room on the device.
    encoder.to(training.device)
    labels = sorted({pair.label for pair in evaluation.pairs if pair.label})
    prompts = [arguments.label_prompt.format(label=label) for label in labels]
    pairs = [*train.pairs, *evaluation.pairs]
    texts = cache_texts(encoder, processor, [pair.text for pair in pairs] + prompts, arguments, training)
    cache = cache_features(encoder, processor, pairs, arguments, training) if arguments.cache else None
    report_rejects(train, evaluation, cache, arguments, training)
    if cache is not None:
        encoder.tower.to("cpu")
        cache.read_ahead(arguments.read_ahead_gb)
    encoder.text_tower.to("cpu")

    def dataset(part: Pairs, train: bool) -> PairDataset:
        decode = read if train and read is not None else _read
        return PairDataset(part.pairs, texts, labels, cache, read=_Decoder(processor, decode))

    classes = [texts[texts.key_of(Item("", text=prompt)) or ""][0].to(training.device) for prompt in prompts]
    training.remove_unused_columns = False
    if training.ddp_find_unused_parameters is None:
        training.ddp_find_unused_parameters = False
    if training.gradient_accumulation_steps > 1:
        logger.warning(
            "negatives come from one forward pass: %d accumulated batches give no larger contrast than one; raise "
            "per_device_train_batch_size instead",
            training.gradient_accumulation_steps,
        )
    trainer = AlignmentTrainer(
        model=model,
        encoder=encoder,
        args=training,
        train_dataset=dataset(train, True),
        eval_dataset=dataset(evaluation, False) if evaluation.pairs else None,
        data_collator=AlignmentCollator(media, processor),
        class_embeddings=torch.stack(classes) if classes else None,
        settings={name: value for name, value in asdict(arguments).items() if name not in INDIFFERENT}
        | {"rows": rows_digest((pair.id, pair.text) for pair in train.pairs)},
        **loss or {},
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint or last_whole_checkpoint(training.output_dir))
    metrics = trainer.evaluate() if evaluation.pairs else {}
    if trainer.is_world_process_zero():
        encoder.cpu().save_pretrained(training.output_dir)
        processor.save_pretrained(training.output_dir)
        stage = "stage 1" if media == "video" else "stage 2"
        write_outcome(trainer, stage, arguments, training, metrics, len(train.pairs))
    wait()


def cache_texts(
    encoder: Any,
    processor: Any,
    texts: list[str],
    arguments: AlignmentArguments,
    training: TrainingArguments,
) -> FeatureCache:
    """The frozen text tower's vector of every text, in a cache of its own."""
    folder = Path(arguments.cache or training.output_dir, f"{encoder.config.media}_texts")
    settings = {
        "tower": f"{encoder.text_tower.config.model_type} {weights_digest(encoder.text_tower)}",
        "tower_dtype": arguments.tower_dtype,
        "pooling": encoder.config.text_pooling,
        "processor": {"max_text_tokens": processor.max_text_tokens, "vocabulary": len(processor.tokenizer)},
        "width": encoder.head.text_projection.in_features,
        "dtype": "float32",
    }
    cache = FeatureCache(folder, settings)
    device = training.device

    def encode(batch: list[str]) -> list[torch.Tensor]:
        inputs = {name: value.to(device) for name, value in processor.texts(batch).items()}
        return list(encoder.get_sentence_features(**inputs).float().cpu().unsqueeze(1))

    items = [Item(text[:40], text=text) for text in dict.fromkeys(texts)]
    build(cache, items, str, encode, 64, 0, training.process_index, training.world_size)
    wait()
    cache.refresh()
    return cache


def cache_features(
    encoder: XEmoGPTCueEncoder,
    processor: Any,
    pairs: list[Pair],
    arguments: AlignmentArguments,
    training: TrainingArguments,
) -> FeatureCache:
    """The frozen tower's features of every clip; what is there already is not encoded again."""
    assert arguments.cache is not None
    media = encoder.config.media
    cache = FeatureCache(Path(arguments.cache, media), feature_settings(encoder, processor, arguments))

    def encode(batch: list[Any]) -> list[torch.Tensor]:
        inputs = processor(**{"videos" if media == "video" else "audio": batch})
        inputs = {name: value.to(training.device) for name, value in inputs.items()}
        features, mask = encoder.get_tower_features(**inputs)
        lengths = [features.shape[1]] * len(features) if mask is None else mask.sum(-1).tolist()
        features = features.to(cache.dtype).cpu()
        return [clip[:length] for clip, length in zip(features, lengths, strict=True)]

    items = [Item(pair.id, pair.path) for pair in {pair.path: pair for pair in pairs}.values()]
    build(
        cache,
        items,
        processor.read,
        encode,
        arguments.cache_batch_size,
        arguments.cache_workers,
        training.process_index,
        training.world_size,
    )
    wait()
    cache.refresh()
    return cache


def feature_settings(encoder: Any, processor: Any, arguments: AlignmentArguments) -> dict[str, Any]:
    """All that features depend on beside the clip."""
    if encoder.config.media == "video":
        part, own = processor.image_processor, {"num_frames": processor.num_frames}
        own["feature"] = encoder.config.vision_feature
    else:
        part, own = processor.feature_extractor, {"max_audio_seconds": processor.max_audio_seconds}
    described = {name: value for name, value in part.to_dict().items() if not name.startswith(("auto_map", "_"))}
    return {
        "tower": f"{encoder.tower.config.model_type} {weights_digest(encoder.tower)}",
        "tower_dtype": arguments.tower_dtype,
        "processor": described | own,
        "width": encoder.feature_width,
        "dtype": arguments.cache_dtype,
    }


def report_rejects(
    train: Pairs,
    evaluation: Pairs,
    cache: FeatureCache | None,
    arguments: AlignmentArguments,
    training: TrainingArguments,
) -> None:
    """Takes clips that the cache could not read out of the pairs; lists all rejects in the output folder, and says so.

    Raises:
        ValueError: more of them than `max_rejects` allows.
    """
    refused = cache.rejected() if cache is not None else {}
    for part in (train, evaluation):
        for pair in part.pairs:
            row = refused.get(os.path.abspath(pair.path))
            if row is not None:
                part.rejects.append(Reject(pair.id, pair.path, row["reason"]))
        part.pairs = [pair for pair in part.pairs if os.path.abspath(pair.path) not in refused]
    rejects = list(dict.fromkeys([*train.rejects, *evaluation.rejects]))
    if not rejects:
        return
    if training.process_index == 0:
        path = Path(training.output_dir, "rejects.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with JsonLines(path, "reason", first="id") as file:
            file.rewrite([each._asdict() for each in rejects])
        reasons = Counter(each.reason.rsplit(": ", 1)[-1][:60] for each in rejects).most_common(3)
        logger.warning(
            "%d of %d clips are of no use and left out (%s ...): see %s",
            len(rejects),
            len(rejects) + len(train.pairs) + len(evaluation.pairs),
            "; ".join(f"{count} x {reason}" for reason, count in reasons),
            path,
        )
    share = len(rejects) / (len(rejects) + len(train.pairs) + len(evaluation.pairs))
    if share > arguments.max_rejects or not train.pairs:
        raise ValueError(
            f"{share:.0%} of the clips are of no use, more than max_rejects {arguments.max_rejects:.0%}: see "
            f"{Path(training.output_dir, 'rejects.jsonl')}"
        )


@dataclass
class _Decoder:
    """Decodes a clip, in whatever process."""

    processor: Any
    decode: Callable[[Any, str, int, int], Any]

    def __call__(self, path: str, index: int, epoch: int) -> Any:
        return self.decode(self.processor, path, index, epoch)


def _read(processor: Any, path: str, index: int, epoch: int) -> Any:
    return processor.read(path)
