# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Pairs of a clip and a cue text for stages 1 and 2, from manifests; and their batches, from cache or files."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from xemogpt.data.jsonl import one_line
from xemogpt.data.sample import EmotionSample
from xemogpt.train.feature_cache import FeatureCache, Item, Reject
from xemogpt.train.losses import text_key
from xemogpt.train.mixture import epoch_rows, read_mixture

TEXT_SOURCES = ("caption", "cues", "label")


@dataclass(frozen=True)
class Pair:
    """A clip and the text that belongs to it. `label`: its class, for zero-shot recognition."""

    id: str
    path: str
    text: str
    label: str | None = None


@dataclass
class Pairs:
    """What a mixture of manifests gives, and what of it cannot be used."""

    pairs: list[Pair] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def read_pairs(
    mixture: Sequence[dict[str, Any]],
    media: str,
    text_sources: Sequence[str] = TEXT_SOURCES,
    label_prompt: str = "a person who feels {label}",
    seed: int = 0,
    weighted: bool = True,
) -> Pairs:
    """The pairs of a mixture, in its order.

    Args:
        mixture: `{"manifest": PATH, "weight": 1.0}` each, see `xemogpt.train.mixture`.
        media: `video` or `audio`. A sample without an audio file lends its video's sound.
        text_sources: where the text of a sample comes from, the first that it has: its `caption`, its `cues` of this
            medium (what is observed, joined), or its `label` put into `label_prompt`. What a cue list says is absent
            is left out: most other clips lack it too, so that it would tell none apart.
        weighted: False for validation, which takes each clip once.

    Raises:
        ValueError: an unknown text source, a bad mixture or manifest, or nothing left to train on.
    """
    if unknown := set(text_sources) - set(TEXT_SOURCES):
        raise ValueError(f"unknown text source {sorted(unknown)[0]!r}; there are {', '.join(TEXT_SOURCES)}")
    found = Pairs()
    mixed = read_mixture(mixture, weighted=weighted)
    rows: list[list[Pair]] = []
    for sample in mixed.samples:
        path = sample.video if media == "video" else sample.audio or sample.video
        text = sample_text(sample, media, text_sources, label_prompt)
        reason = None
        if path is None:
            reason = f"has no {media}"
        elif not text:
            reason = f"has no text: no {', '.join(text_sources)}"
        elif not os.path.isfile(path):
            reason = "no such file"
        if reason is not None:
            found.rejects.append(Reject(sample.id, path or "", reason))
        rows.append([Pair(sample.id, path or "", text, sample.label)] if reason is None else [])
    found.pairs = epoch_rows(rows, mixed.weights, seed)
    if not found.pairs:
        raise ValueError(f"no clip with {media} and text in {', '.join(str(each['manifest']) for each in mixture)}")
    return found


def sample_text(sample: EmotionSample, media: str, sources: Sequence[str], label_prompt: str) -> str:
    """The cue text of a sample, "" where it has none."""
    modality = "visual" if media == "video" else "audio"
    observed = [cue for cue in sample.cues_of(modality) if cue.kind == "observation" and cue.polarity > 0]
    texts = {
        "caption": sample.caption or "",
        "cues": "; ".join(text for cue in observed if (text := cue.text.strip().rstrip(".;"))),
        "label": label_prompt.format(label=sample.label) if sample.label and sample.label.strip() else "",
    }
    return next((texts[source].strip() for source in sources if texts[source].strip()), "")


class PairDataset(Dataset):
    """Pairs as what the model reads; `texts` holds the frozen text tower's vector of every text.

    With a `cache`, a row's `features` (length, width) are views into mapped files. Without one, `read` decodes the
    file, and towers are run in the step.
    """

    def __init__(
        self,
        pairs: list[Pair],
        texts: FeatureCache,
        labels: list[str],
        cache: FeatureCache | None = None,
        read: Callable[[str, int, int], Any] | None = None,
    ):
        self.pairs, self.texts, self.cache, self.read = pairs, texts, cache, read
        self.epoch = 0 if cache is None else None  # `read` gets it, with the row's number
        self.classes = {label: index for index, label in enumerate(labels)}
        self.keys = [(text_key(pair.text), text_key(f"clip {pair.path}")) for pair in pairs]
        self.text_places = [texts.key_of(Item(pair.id, text=pair.text)) or "" for pair in pairs]
        self.places = [] if cache is None else [cache.key_of(Item(pair.id, pair.path)) or "" for pair in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def lengths(self) -> list[int]:
        """Steps of every clip, for batches of about equal length; from the cache alone."""
        assert self.cache is not None
        return [self.cache.length(place) for place in self.places]

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        row: dict[str, Any] = {
            "id": pair.id,
            "text_embedding": self.texts[self.text_places[index]][0],
            "keys": self.keys[index],
            "label": self.classes.get(pair.label or "", -1),
        }
        if self.cache is not None:
            return row | {"features": self.cache[self.places[index]]}
        assert self.read is not None
        assert self.epoch is not None
        try:
            return row | {"media": self.read(pair.path, index, self.epoch)}
        except (FileNotFoundError, ValueError) as error:  # not a system that fails: that is no fault of the clip
            raise ValueError(
                f"{pair.id}: cannot be read ({one_line(error)}); take it out of the manifest, or build a cache, which "
                "checks every clip beforehand"
            ) from None


@dataclass
class AlignmentCollator:
    """Rows of a `PairDataset` -> a batch.

    From the cache: `features` (B, l, d) and, where clips differ in length, `features_mask` (B, l) bool. From files:
    `media`, what the processor makes of them. Both: `text_embeddings` (B, text size), `text_keys`, `clip_keys` and
    `labels` (B,) int64, and the samples' `ids`.
    """

    media: str
    processor: Any = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        keys = torch.tensor([row["keys"] for row in rows])
        batch: dict[str, Any] = {
            "text_embeddings": torch.stack([row["text_embedding"] for row in rows]),
            "text_keys": keys[:, 0].contiguous(),
            "clip_keys": keys[:, 1].contiguous(),
            "labels": torch.tensor([row["label"] for row in rows]),
            "ids": [row["id"] for row in rows],
        }
        if "features" not in rows[0]:
            arguments = {"videos" if self.media == "video" else "audio": [row["media"] for row in rows]}
            return batch | {"media": dict(self.processor(**arguments))}
        features = [row["features"] for row in rows]
        if self.media == "video":
            return batch | {"features": torch.stack(features)}
        lengths = torch.tensor([len(each) for each in features])
        return batch | {
            "features": pad_sequence(features, batch_first=True),
            "features_mask": torch.arange(int(lengths.max())) < lengths.unsqueeze(1),
        }
