# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Zero-shot recognition (Table IV): which label's prompts lie nearest to a clip in an encoder's own space.

Each label has a set of prompts; their embeddings are normalised, averaged and normalised again. A clip gets the label
of the highest cosine. The tower alone is CLIP itself (or CLAP), frames averaged; tower and bridge are a cue encoder.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from xemogpt.data.jsonl import one_line
from xemogpt.eval.answerers import shown_name
from xemogpt.eval.benchmark import Benchmark, Item
from xemogpt.eval.generate import without_folder
from xemogpt.eval.records import Record
from xemogpt.eval.score import Task, score

TEMPLATES = {
    "visual": (
        "{label}",
        "a person who feels {label}",
        "a face with the expression {label}",
        "a video of a person whose emotion is {label}",
    ),
    "audio": (
        "{label}",
        "a person who sounds {label}",
        "a voice with the emotion {label}",
        "speech in a tone that is {label}",
    ),
}


class Encoder(Protocol):
    """Clips and texts as unit vectors of one space."""

    modality: str
    name: str

    def media(self, items: Sequence[Item]) -> torch.Tensor:
        """(N, E)"""

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """(C, E)"""


def read_prompts(path: str | None, benchmark: Benchmark, modality: str) -> dict[str, list[str]]:
    """Prompts by label: of a YAML or JSON file `label: [prompts]`, or the templates filled in.

    Raises:
        ValueError: the benchmark has no labels; the file has other labels, or a label without prompts.
    """
    if not benchmark.labels:
        raise ValueError(f"{benchmark.name} has no label set, so there is nothing to recognise")
    if path is None:
        return {label: [each.format(label=label) for each in TEMPLATES[modality]] for label in benchmark.labels}
    import yaml

    data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(data, dict) or set(data) != set(benchmark.labels):
        raise ValueError(f"{path}: must have prompts for exactly {', '.join(benchmark.labels)}")
    for label, prompts in data.items():
        if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) and p.strip() for p in prompts):
            raise ValueError(f"{path}: {label} has no list of prompts")
    return {label: data[label] for label in benchmark.labels}


def load_encoder(
    model: str,
    modality: str | None = None,
    frames: int = 16,
    device: str | None = None,
    trust: bool | None = None,
    bridge: bool = True,
    revision: str | None = None,
) -> Encoder:
    """A cue encoder, or any model of transformers with text features and image or audio features.

    Without its `bridge`, the head of a cue encoder gets what its tower says.

    Raises:
        ValueError: it has no such features, or not of that modality; a Hub model's code that was not allowed.
    """
    from transformers import AutoModel, AutoProcessor

    allowed = Path(model).is_dir() if trust is None else trust
    hub: dict[str, Any] = {"trust_remote_code": allowed} | ({} if revision is None else {"revision": revision})
    loaded, processor = AutoModel.from_pretrained(model, **hub), AutoProcessor.from_pretrained(model, **hub)
    return ZeroShot(shown_name(model), loaded, processor, modality, frames, device, bridge)


class ZeroShot:
    """Any model with get_text_features and one of get_video_features, get_image_features, get_audio_features."""

    def __init__(
        self,
        name: str,
        model: Any,
        processor: Any,
        modality: str | None,
        frames: int = 16,
        device: str | None = None,
        bridge: bool = True,
    ):
        self.name, self.processor, self.frames, self.bridge = name, processor, frames, bridge
        if not bridge and not hasattr(model, "bridge"):
            raise ValueError(f"{name}: is no cue encoder, so it has no bridge to leave out")
        has = [kind for kind in ("video", "image", "audio") if hasattr(model, f"get_{kind}_features")]
        if not has or not hasattr(model, "get_text_features"):
            raise ValueError(f"{name}: has no text features, or neither video, image nor audio features to compare")
        wanted = [kind for kind in has if modality is None or (kind == "audio") == (modality == "audio")]
        if not wanted:
            raise ValueError(f"{name}: has {' and '.join(has)} features, nothing of modality {modality}")
        self.kind = wanted[0]
        self.modality = "audio" if self.kind == "audio" else "visual"
        self.model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()

    @torch.inference_mode()
    def media(self, items: Sequence[Item]) -> torch.Tensor:
        if self.kind == "audio":
            return self._audio(items)
        if self.kind == "video":
            videos = [self._video(item) for item in items]
            return self._embed(self.model.get_video_features, self._moved(self.processor(videos=videos)))
        from xemogpt.media_xemogpt import load_video

        rows = []
        for item in items:  # frames of one clip at a time: the mean of their unit vectors stands for the clip
            pictures = list(load_video(self._video(item), self.frames).frames)
            inputs = self._moved(self.processor.image_processor(images=pictures, return_tensors="pt"))
            rows.append(self._unit(self.model.get_image_features(**inputs)).mean(0))
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        if hasattr(self.processor, "texts"):  # a cue encoder's, which knows where its text tower cuts
            inputs = self.processor.texts(list(texts))
        else:
            inputs = self.processor.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        return self._unit(self.model.get_text_features(**self._moved(inputs)))

    def _audio(self, items: Sequence[Item]) -> torch.Tensor:
        from xemogpt.media_xemogpt import load_audio

        extractor = self.processor.feature_extractor
        rate = int(extractor.sampling_rate)
        sounds = [load_audio(self._sound(item), rate) for item in items]
        if hasattr(self.processor, "texts"):
            inputs = self._moved(self.processor(audio=sounds, sampling_rate=rate))
        else:  # cut here, since CLAP's extractor would take a part of a longer sound at random
            most = getattr(extractor, "nb_max_samples", None)
            each = [self._moved(extractor(x[:most], sampling_rate=rate, return_tensors="pt")) for x in sounds]
            inputs = {key: torch.cat([row[key] for row in each]) for key in each[0]}
        return self._embed(self.model.get_audio_features, inputs)

    def _embed(self, features: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.bridge:
            return self._unit(features(**inputs))
        hidden, mask = self.model.get_tower_features(**inputs)
        return self._unit(self.model.head(hidden) if mask is None else self.model.head(hidden, mask))

    def _video(self, item: Item) -> Path:
        if item.video is None:
            raise ValueError(f"{item.reference.id}: has no video")
        return item.video

    def _sound(self, item: Item) -> Path:
        source = item.audio or item.video
        if source is None:
            raise ValueError(f"{item.reference.id}: has no sound")
        return source

    def _moved(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {key: each.to(self.model.device) for key, each in inputs.items() if isinstance(each, torch.Tensor)}

    @staticmethod
    def _unit(output: Any) -> torch.Tensor:
        """The embedding in an output, of length 1, on the host."""
        if not isinstance(output, torch.Tensor):
            found = getattr(output, "embedding", None)
            output = output.pooler_output if found is None else found
        return torch.nn.functional.normalize(output.float(), dim=-1).cpu()


def label_vectors(encoder: Encoder, prompts: Mapping[str, Sequence[str]]) -> torch.Tensor:
    """Each label's prompts as one unit vector (C, E): normalise, mean, normalise."""
    means = [encoder.texts(texts).mean(0) for texts in prompts.values()]
    return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def probe(
    encoder: Encoder, items: Sequence[Item], prompts: Mapping[str, Sequence[str]], *, batch_size: int = 16
) -> dict[str, Any]:
    """A result as of `xemogpt.eval.score`: UAR, WAR, confusion matrix, predicted labels; clips that fail are listed.

    Raises:
        ValueError: not one clip could be encoded.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, not {batch_size}")
    labels, vectors = list(prompts), label_vectors(encoder, prompts)
    said: dict[str, Record] = {}
    reasons: dict[str, str] = {}

    def encode(batch: Sequence[Item]) -> None:
        try:
            nearest = (encoder.media(batch) @ vectors.T).argmax(-1).tolist()
        except (ValueError, OSError, RuntimeError) as error:
            if len(batch) == 1:
                reasons[batch[0].reference.id] = without_folder(one_line(error), batch[0])
            else:
                for item in batch:
                    encode([item])
            return
        for item, index in zip(batch, nearest, strict=True):
            said[item.reference.id] = Record(item.reference.id, label=labels[index])

    with tqdm(total=len(items), unit="clip", disable=None) as bar:
        for start in range(0, len(items), batch_size):
            encode(items[start : start + batch_size])
            bar.update(min(batch_size, len(items) - start))
    if not said:
        raise ValueError(f"not one of {len(items)} clips could be encoded; the first: {next(iter(reasons.values()))}")
    words = {label.casefold(): label for label in labels}
    task = Task(("recognition",), words=words, labels=tuple(labels), modalities=(encoder.modality,))
    references = {item.reference.id: item.reference for item in items}
    result = score(said, references, task, allow_missing=True)
    digest = hashlib.sha256(json.dumps(dict(prompts), sort_keys=True).encode()).hexdigest()[:8]
    result["signatures"]["recognition"] = f"zero-shot|prompts:{digest}|labels:{len(labels)}"
    result["coverage"]["rejected"] = reasons
    return result
