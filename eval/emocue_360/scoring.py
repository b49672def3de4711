# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-360 (section V, equations 10 and 11): from descriptions to scores.

Every distinct cue of the whole run is encoded once; what follows are small matrices of cosines, one for each sample
and dimension, that are never all in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .cue_schema import (
    MODALITIES,
    CueExtractor,
    Description,
    ExtractionError,
    group_cues,
    is_quotation,
    read_description,
)
from .encoder import Encoder, SentenceEncoder, encoder_tag
from .matching import NO_MATCH, Match, best_match, mean_cosine_across, one_to_one
from .polarity import contradictions, is_negated, sides
from .resampling import derangements
from .settings import PRESETS, Settings, choose
from .summary import adjust, as_array, intervals, means, pairs, row, summarise

# 1: the polarity of coordinated clauses was their parity, and some words had a wrong opposite. 2: "not just", "whether
# or not" and their like were negations, 不满意 was none, and "yellow", "dimples", "content" (a noun) had an opposite.
VERSION = 3
ENCODED_AT_ONCE = 4096  # cues a call of the encoder
HIGHEST_BASELINE = 0.95  # where references are all but one text, the same cue must still score 1


def score(
    predictions: Sequence[Any] | Mapping[str, Any],
    references: Sequence[Any] | Mapping[str, Any],
    ids: Sequence[str] | None = None,
    preset: str = "official",
    encoder: Encoder | None = None,
    extractor: CueExtractor | None = None,
    per_sample: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Score descriptions against references by their cues.

    Args:
        predictions, references: descriptions (see `cue_schema`), as two lists in the same order or two dicts by id. A
            prediction that is None or not in the dict is missing.
        ids: names of the samples of lists; default "0", "1", ...
        preset: `official` (the authors' code), `equation` (the paper to the letter) or `robust`.
        encoder: `list[str] -> float32[n, d]`; default all-MiniLM-L6-v2.
        extractor: reads cues out of texts; default the rules of `rules`. Not used for what is cues already.
        per_sample: add `samples`, each one's scores (None where it was not scored).
        settings: fields of `Settings` that differ from the preset, above all `modalities`, those that the model gets:
            a dimension not among them is None in the result.

    Returns:
        `visual`, `audio`, `global`: `precision`, `recall`, `f1` and `n`, the number of samples scored (None for all
        three where that is 0); `mean` of all precisions and recalls, the mean of Table II; `mean_f1`, the one to
        go by in `robust`, where padding still raises recall and so `mean` (adjusted too), but not F1; `missing`, ids
        without prediction, `unmatched`, predictions without reference, and `failed`, samples that are not scored
        because the extractor could not read one of their texts, and why; `signature`. With derangements `floor`
        and `adjusted`, (s - floor) / (1 - floor): None where a dimension has one scored sample, which no other's
        reference can meet, and then for both means; with a bootstrap `interval`; with assignment `hallucination` and
        `omission`, the shares of candidate and reference cues in no pair, and `pairs`; with rescaling `baseline`.

    Raises:
        ValueError: lists of different length, ids that are not unique, no id in common, or something that is no
            description; names the sample.
    """
    chosen = choose(preset, settings)
    names, candidates, targets, unmatched = align(predictions, references, ids)
    reader = _Reader(extractor)
    table, kept, failed = [], [], []
    for name, given, target in zip(names, candidates, targets, strict=True):
        try:
            read = None if given is None else reader.read(given, "prediction", name)
            table.append((read, reader.read(target, "reference", name)))
            kept.append(name)
        except ExtractionError as error:
            failed.append({"id": name, "reason": str(error)})
    if not table:
        raise ValueError(f"cues could be extracted of no sample; {failed[0]['id']!r}: {failed[0]['reason']}")
    encoder = encoder or SentenceEncoder()
    dimensions = {name: _Dimension(name, table, chosen) for name in chosen.dimensions}
    cues = _Encoded(dimensions.values(), encoder, chosen)
    matches = {name: dimension.match(cues) for name, dimension in dimensions.items()}
    values = {name: as_array(found) for name, found in matches.items()}

    result: dict[str, Any] = summarise({name: means(array) for name, array in values.items()})
    for name, array in values.items():
        result[name]["n"] = int((~np.isnan(array[:, 0])).sum())
    result["missing"] = [name for name, given in zip(names, candidates, strict=True) if given is None]
    result["unmatched"], result["failed"] = unmatched, failed
    counts = "/".join(str(result[name]["n"]) if result[name] else "-" for name in MODALITIES)
    result["signature"] = (
        f"emocue360|v{VERSION}|{preset}|enc:{encoder_tag(encoder)}|ext:{reader.tag}|n:{counts}"
        f"{chosen.differences(PRESETS[preset])}{f'|failed:{len(failed)}' if failed else ''}"
    )
    if chosen.rescale:
        result["baseline"] = {name: dimension.baseline for name, dimension in dimensions.items()}
    if chosen.derangements:
        result["floor"] = floor = summarise({name: each.floor(cues) for name, each in dimensions.items()})
        if any(result[name]["n"] and floor[name]["f1"] is None for name in dimensions):
            floor |= {"mean": None, "mean_f1": None}  # it would be over other dimensions than the score's mean
        result["adjusted"] = adjust(result, floor)
    if chosen.bootstrap:
        result["interval"] = intervals(values, chosen.bootstrap, chosen.seed)
    if chosen.assign:
        result |= pairs(kept, matches, dimensions)
    if per_sample:
        result["samples"] = [
            {"id": sample} | {name: row(array[index]) for name, array in values.items()}
            for index, sample in enumerate(kept)
        ]
    return result


def align(
    predictions: Sequence[Any] | Mapping[str, Any],
    references: Sequence[Any] | Mapping[str, Any],
    ids: Sequence[str] | None = None,
) -> tuple[list[str], list[Any], list[Any], list[str]]:
    """The references' ids, their predictions (None where missing), the references, and the ids of stray predictions.

    Raises:
        ValueError: see `score`.
    """
    for name, side in (("predictions", predictions), ("references", references)):
        if isinstance(side, str | bytes) or not isinstance(side, Iterable):
            raise ValueError(f"{name} must be a list of descriptions or a dict by id, not {type(side).__name__}")
    if isinstance(predictions, Mapping) != isinstance(references, Mapping):
        raise ValueError("predictions and references must be two lists or two dicts by id, not one of each")
    if isinstance(predictions, Mapping) and isinstance(references, Mapping):
        if ids is not None:
            raise ValueError("dicts bring their ids; leave ids out")
        names = list(references)
        if names and not any(name in predictions for name in names):
            have, want = (", ".join(map(repr, list(each)[:3])) for each in (predictions, references))
            raise ValueError(f"no id in common: predictions have {have or 'none'}, references {want}")
        given = [predictions.get(name) for name in names]
        unmatched, targets = [name for name in predictions if name not in references], list(references.values())
    else:
        given, targets, unmatched = list(predictions), list(references), []
        names = [str(number) for number in range(len(targets))] if ids is None else list(ids)
        if not len(given) == len(targets) == len(names):
            counts = f"{len(given)} predictions, {len(targets)} references" + (
                f", {len(names)} ids" * (ids is not None)
            )
            raise ValueError(f"{counts}: lists must be of one length; give None for what is missing, or dicts by id")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"id {twice!r} is there more than once")
    if not names:
        raise ValueError("there is nothing to score: no references")
    for name, target in zip(names, targets, strict=True):
        if target is None:
            raise ValueError(f"reference {name!r} is None; leave out samples without reference")
    return names, given, targets, unmatched


class _Reader:
    """Descriptions in all their forms, as cues; remembers on which side the extractor was needed."""

    def __init__(self, extractor: CueExtractor | None):
        self.extractor = extractor
        self.sources: dict[str, set[str]] = {"prediction": set(), "reference": set()}

    def read(self, value: Any, side: str, name: str) -> Description:
        where = f"{side} {name!r}"
        if not isinstance(value, str):
            self.sources[side].add("given")
            return read_description(value, where)
        if self.extractor is None:
            from .rules import RulesExtractor

            self.extractor = RulesExtractor()
        if value.strip():  # a blank text has no cue, whoever reads it
            self.sources[side].add(f"{self.extractor.name}@{self.extractor.digest}")
        try:
            return group_cues(self.extractor.extract(value))
        except ExtractionError as error:
            raise ExtractionError(f"{where}: {error}") from None

    @property
    def tag(self) -> str:
        """Where the cues come from: given, an extractor, or both; predictions/references where the two differ."""
        sides = ["+".join(sorted(sources)) for sources in self.sources.values() if sources]
        return "/".join(dict.fromkeys(sides)) or "given"


class _Dimension:
    """The cues of one dimension: for each sample candidate and reference texts, and whether and how it is scored."""

    def __init__(self, name: str, table: Sequence[tuple[Description | None, Description]], chosen: Settings):
        self.name, self.chosen, self.baseline = name, chosen, dict(chosen.baseline).get(name)
        self.candidates, self.references = [], []
        self.zero: list[bool] = []  # scored 0 whatever the cues
        self.scored: list[bool] = []
        for given, target in table:
            a = self._texts(given) if given else []
            b = self._texts(target)
            unnamed = chosen.unnamed_global and name == "global" and given is not None and name not in given.named
            missing = given is None
            self.candidates.append(a)
            self.references.append(b)
            self.zero.append(unnamed or missing or not a)
            self.scored.append(unnamed or (bool(b) and (chosen.missing_is_zero or not missing)))

    @property
    def measures_baseline(self) -> bool:
        """Whether the mean cosine of all references' cues, scored or not, is still to be taken."""
        return self.chosen.rescale and self.baseline is None

    def _texts(self, description: Description) -> list[tuple[str, bool]]:
        """The texts that count, each with whether it is negated."""
        kept: dict[Any, tuple[str, bool]] = {}
        for number, cue in enumerate(description.cues[self.name]):
            text = cue.text.strip() if self.chosen.deduplicate else cue.text
            if self.chosen.text_filter and self.name == "audio" and "text" in text:
                continue
            if cue.kind == "subtitle" or (self.chosen.drop_quotations and is_quotation(text)):
                continue
            if self.chosen.deduplicate and not text:
                continue
            key = text.casefold() if self.chosen.deduplicate else number
            kept.setdefault(key, (text, self.chosen.polarity and (cue.polarity < 0 or is_negated(text))))
        return list(kept.values())

    def match(self, cues: "_Encoded") -> list[Match | None]:
        """Each sample's scores, None where it is not scored."""
        if self.measures_baseline:
            owners = [index for index, texts in enumerate(self.references) for _ in texts]
            rows = cues.rows([text for texts in self.references for text in texts])
            baseline = mean_cosine_across(cues.embeddings[rows], np.array(owners, dtype=int))
            self.baseline = min(baseline, HIGHEST_BASELINE)
        return [self._one(cues, index, index) if scored else None for index, scored in enumerate(self.scored)]

    def _one(self, cues: "_Encoded", candidate: int, reference: int) -> Match:
        a, b = self.candidates[candidate], self.references[reference]
        if self.zero[candidate] or not a or not b:
            return NO_MATCH
        similarity = cues.similarity(b, a)
        if self.chosen.rescale and self.baseline is not None:
            similarity = np.clip((similarity - self.baseline) / (1 - self.baseline), 0, 1)
        if self.chosen.polarity:
            similarity = np.where(cues.contradictions(b, a), 0, similarity)
        return one_to_one(similarity, self.chosen.tau) if self.chosen.assign else best_match(similarity)

    def floor(self, cues: "_Encoded") -> tuple[float, ...] | None:
        """Means of precision, recall and F1 where each candidate meets another sample's reference."""
        members = np.array([index for index, scored in enumerate(self.scored) if scored], dtype=int)
        runs = [
            np.mean([self._one(cues, a, b)[:3] for a, b in zip(members, members[order], strict=True)], axis=0)
            for order in derangements(len(members), self.chosen.derangements, self.chosen.seed)
        ]
        return tuple(float(value) for value in np.mean(runs, axis=0)) if runs else None


class _Encoded:
    """Every distinct cue of the run, encoded once in order of length."""

    def __init__(self, dimensions: Any, encoder: Encoder, chosen: Settings):
        used = {
            text
            for dimension in dimensions
            for cues, needed in zip(
                [*dimension.candidates, *dimension.references], [*dimension.scored, *dimension.scored], strict=True
            )
            if needed or chosen.derangements
            for text, _ in cues
        } | {text for each in dimensions if each.measures_baseline for cues in each.references for text, _ in cues}
        self.texts = sorted(used, key=lambda text: (len(text), text))
        self.row = {text: row for row, text in enumerate(self.texts)}
        parts = [
            np.asarray(encoder(self.texts[start : start + ENCODED_AT_ONCE]), dtype=np.float32)
            for start in range(0, len(self.texts), ENCODED_AT_ONCE)
        ]
        self.embeddings = np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)
        if self.embeddings.ndim != 2 or len(self.embeddings) != len(self.texts):
            raise ValueError(f"the encoder gave an array of shape {self.embeddings.shape} for {len(self.texts)} cues")
        self.embeddings /= np.maximum(np.linalg.norm(self.embeddings, axis=1, keepdims=True), 1e-12)
        self.sides = sides(self.texts) if chosen.polarity else np.zeros((0, 0), dtype=np.int8)

    def rows(self, cues: Sequence[tuple[str, bool]]) -> np.ndarray:
        return np.array([self.row[text] for text, _ in cues], dtype=int)

    def similarity(self, b: Sequence[tuple[str, bool]], a: Sequence[tuple[str, bool]]) -> np.ndarray:
        """Cosines float32[b, a]."""
        return self.embeddings[self.rows(b)] @ self.embeddings[self.rows(a)].T

    def contradictions(self, b: Sequence[tuple[str, bool]], a: Sequence[tuple[str, bool]]) -> np.ndarray:
        """bool[b, a]."""
        signs = [np.array([negated for _, negated in cues]) for cues in (b, a)]
        return contradictions(signs[0], self.sides[self.rows(b)], signs[1], self.sides[self.rows(a)])
