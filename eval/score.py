# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Score predictions against references, with the floor beside every score: what another clip's annotation would get.

A result has the scores, and everything that a reader needs to trust them: coverage, signatures, task version, commit,
seed, machine. The scored samples, with their texts, go into a file of their own, since texts may be gated.
"""

import json
import platform
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xemogpt.eval.emocue_360.resampling import derangements
from xemogpt.eval.open_vocabulary import Grouping, per_sample, read_labels, set_scores, wordnet_emotions
from xemogpt.eval.recognition import read_label, recognition
from xemogpt.eval.records import Record, jsonl_rows, match_ids, shown

SEED = 0
# What parts the words of an answer, beside what parts those of a list: lines, bullets, numbers, and "and".
_JOINS = re.compile(
    r"(?im)[\n&]|^\s*[-*•–]\s+|(?:^|\s)\(?\d{1,2}[.):、](?!\d)|(?<![\w-])and(?![\w-])"
    r"|(?<![平温柔缓随谦祥])和(?![谐睦蔼善气缓平])"
)
# One or two words and the only colon of an answer: "Emotions: happy, sad".
_HEADING = re.compile(r"^[\s*_#]*[^\W\d_]+(?: [^\W\d_]+)?[*_]*(?:[:：][*_]+\s*|:\s+|：\s*)(?=[^:：]+$)")
DERANGEMENTS = 20  # of the references, that a floor is the mean of


@dataclass(frozen=True)
class Task:
    """What is scored and how. words: accepted word -> label. modalities: what the model was given."""

    metrics: tuple[str, ...]
    language: str = "en"
    words: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("visual", "audio")
    grouping: Grouping | None = None
    cues: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of EmoCue-360
    seed: int = SEED


@dataclass
class Scores:
    """By metric: scores, their floor, signatures; by sample: numbers that can be compared pairwise.

    missing: references without a prediction, for metrics that count them.
    """

    scores: dict[str, Any] = field(default_factory=dict)
    floor: dict[str, Any] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    matching: dict[str, dict[str, Any]] = field(default_factory=dict)  # by sample and dimension: cues and their pairs
    missing: list[Record] = field(default_factory=list)


def score(
    predictions: Mapping[str, Record], references: Mapping[str, Record], task: Task, *, allow_missing: bool = False
) -> dict[str, Any]:
    """Scores, coverage and samples.

    Empty predictions are scored, as nothing, and listed. References without a prediction are listed; the robust preset
    of EmoCue-360 counts them 0, and nothing else scores them.

    Raises:
        ValueError: no id in common; references without a prediction (names them), unless `allow_missing`; a metric
            that finds nothing to score.
    """
    if unknown := [metric for metric in task.metrics if metric not in METRICS]:
        raise ValueError(f"unknown metric {', '.join(unknown)}; choose of {', '.join(METRICS)}")
    both, missing, extra = match_ids(predictions, references)
    if missing and not allow_missing:
        raise ValueError(
            f"{len(missing)} of {len(references)} references have no prediction: {shown(missing)}; --allow-missing "
            "scores the rest, and robust EmoCue-360 counts these 0"
        )
    said, truth = [predictions[name] for name in both], [references[name] for name in both]
    found = Scores(samples={name: {} for name in both}, missing=[references[name] for name in missing])
    for metric in task.metrics:
        METRICS[metric](said, truth, task, found)
    if not found.scores:
        raise ValueError(f"nothing could be scored: {'; '.join(found.notes)}")
    return {
        "scores": found.scores,
        "floor": found.floor,
        "signatures": found.signatures,
        "coverage": {
            "scored": len(both),
            "references": len(references),
            "missing": missing,
            "empty": [each.id for each in said if each.empty],
            "not_in_references": extra,
        },
        "notes": found.notes,
        "samples": [
            {
                "id": name,
                "prediction": predictions[name].to_row() if name in predictions else None,
                "reference": reference.to_row(),
                "scores": found.samples[name],
            }
            | ({"matching": found.matching[name]} if name in found.matching else {})
            for name, reference in references.items()
            if name in found.samples
        ],
    }


def write_result(out: Path, result: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """`out` gets the result without its samples; they go to `<stem>.samples.jsonl` beside it."""
    from xemogpt.data.jsonl import json_line

    record = {**about, **{key: value for key, value in result.items() if key != "samples"}, **provenance()}
    samples = samples_file(out)
    for path, content in (
        (samples, b"".join(json_line(row) for row in result["samples"])),
        (out, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.part")
        scratch.write_bytes(content)
        scratch.replace(path)


def provenance() -> dict[str, Any]:
    """Seed, commit, machine and versions: what else a number depends on."""
    from xemogpt.eval.speed import commit, machine

    names = ("numpy", "sacrebleu", "torch", "transformers")
    versions = {"python": platform.python_version()} | {name: _version(name) for name in names}
    return {"seed": SEED, **commit(), "machine": machine(), "versions": versions}


def shown_command(words: Sequence[str]) -> str:
    """A command as results show it: of a path the last part, and no address of a server, since they are published."""
    return shlex.join(Path(each).name if re.match(r"/|~|https?://", each) else each for each in words)


def samples_file(result: Path) -> Path:
    """Where the samples of a result lie."""
    return result.with_name(f"{result.stem}.samples.jsonl")


def read_result(path: str | Path) -> dict[str, Any]:
    """A result file, with its samples where they are.

    Raises:
        ValueError: it is no result of `xemogpt score` or `xemogpt evaluate`, or a line of its samples is broken.
    """
    path = Path(path)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: is not JSON ({error.msg})") from None
    if not isinstance(result, dict) or not {"scores", "coverage", "model", "benchmark"} <= set(result):
        raise ValueError(f"{path}: is no result of `xemogpt score` or `xemogpt evaluate`")
    if result.get("fold"):
        result["model"] += f" (fold {result['fold']})"
    samples = samples_file(path)
    return result | {"samples": _read_samples(samples) if samples.is_file() else [], "file": path.name}


def _read_samples(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        for where, row in jsonl_rows(path.read_text(encoding="utf-8")):
            if lacking := {"id", "prediction", "reference", "scores"} - set(row):
                raise ValueError(f"{where}: lacks {', '.join(sorted(lacking))}")
            rows.append(row)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except ValueError as error:
        raise ValueError(f"{path}, {error}; score the predictions again") from None
    return rows


def mean_floor(
    said: Sequence[Any], metric: Callable[[list[Any]], dict[str, float]], seed: int
) -> dict[str, float] | None:
    """The mean of `metric(shuffled)` over derangements of `said`."""
    rows = [metric([said[index] for index in order]) for order in derangements(len(said), DERANGEMENTS, seed)]
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]} if rows else None


def _texts(said: Sequence[Record], truth: Sequence[Record], found: Scores, metric: str) -> tuple[list, list, list]:
    """Texts of the samples whose reference has one, and those samples' ids."""
    kept = [(p, t) for p, t in zip(said, truth, strict=True) if (t.text or "").strip()]
    if not kept or not any((p.text or "").strip() for p, _ in kept):
        found.notes.append(f"{metric}: needs texts, and {'predictions' if kept else 'references'} have none")
        return [], [], []
    if len(kept) < len(truth):
        found.notes.append(f"{metric}: {len(truth) - len(kept)} references have no text and are not scored")
    return [p.text or "" for p, _ in kept], [t.text for _, t in kept], [t.id for _, t in kept]


def _bleu(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from xemogpt.eval.text_metrics import bleu

    texts, references, _ = _texts(said, truth, found, "bleu")
    if texts:
        for n in (1, 4):
            name = f"bleu_{n}"
            found.scores[name], found.signatures[name] = bleu(texts, references, n, task.language)

        def both(shuffled: list[str]) -> dict[str, float]:
            return {f"bleu_{n}": bleu(texts, shuffled, n, task.language)[0] for n in (1, 4)}

        found.floor |= mean_floor(references, both, task.seed) or {}


def _cider(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from xemogpt.eval.text_metrics import SIGMA, Cider

    texts, references, ids = _texts(said, truth, found, "cider")
    if texts:
        scorer, kinds = Cider(texts, references), {"cider": None, "cider_d": SIGMA}
        for name, sigma in kinds.items():
            values = scorer.score(sigma=sigma)
            found.scores[name] = sum(values) / len(values)
            found.signatures[name] = f"n:1-4|df:references|tok:words+cjk|x10{f'|sigma:{sigma:g}' if sigma else ''}"
            for sample, value in zip(ids, values, strict=True):
                found.samples[sample][name] = value

        def both(order: list[int]) -> dict[str, float]:
            return {name: sum(scorer.score(order, sigma)) / len(texts) for name, sigma in kinds.items()}

        found.floor |= mean_floor(range(len(texts)), both, task.seed) or {}


def label_of(record: Record, words: Mapping[str, str]) -> str | None:
    """The label of a prediction: as given, or the one its text names."""
    given = record.label if record.label is not None else record.text or ""
    return read_label(given, words)


def _labelled(
    said: Sequence[Record], truth: Sequence[Record], found: Scores, metric: str
) -> tuple[list[Record], list[Record], list[str]]:
    """Predictions, references and their labels of the samples whose reference has one."""
    kept = [(p, t, t.label) for p, t in zip(said, truth, strict=True) if t.label is not None]
    if not kept:
        found.notes.append(f"{metric}: the references have no label")
    elif len(kept) < len(truth):
        found.notes.append(f"{metric}: {len(truth) - len(kept)} references have no label and are not scored")
    return [p for p, _, _ in kept], [t for _, t, _ in kept], [label for _, _, label in kept]


def _words(task: Task, labels: Sequence[str]) -> Mapping[str, str]:
    """The accepted words of a task; without any, the references' labels.

    Raises:
        ValueError: two labels differ in case alone, which no answer tells apart.
    """
    spelt: dict[str, str] = {}
    for label in () if task.words else labels:
        if (other := spelt.setdefault(label.casefold(), label)) != label:
            raise ValueError(f"the references' labels {other!r} and {label!r} differ in case alone: write them alike")
    return task.words or spelt


def _recognition(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    said, truth, true = _labelled(said, truth, found, "recognition")
    if not true:
        return
    labels = task.labels or tuple(sorted(set(true)))
    words = _words(task, labels)
    predicted = [label_of(each, words) for each in said]
    scored = recognition(predicted, true, labels)
    found.scores["recognition"] = scored.to_dict()
    found.signatures["recognition"] = f"labels:{len(labels)}|answers:one-label"
    if unread := sum(each is None for each in predicted):
        found.notes.append(f"recognition: {unread} of {len(said)} answers name no label of the set, or several")
    for sample, p, t in zip(truth, predicted, true, strict=True):
        found.samples[sample.id] |= {"correct": float(p == t), "predicted": p, "label": t}

    def floor(shuffled: list[str]) -> dict[str, float]:
        other = recognition(predicted, shuffled, labels)
        return {"uar": other.uar, "war": other.war}

    found.floor["recognition"] = mean_floor(true, floor, task.seed)


def _calibration(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from xemogpt.eval.calibration import calibration

    said, truth, true = _labelled(said, truth, found, "calibration")
    rows = [(p, label, p.confidence) for p, label in zip(said, true, strict=True) if p.confidence is not None]
    if not rows:
        if true:
            found.notes.append("calibration: the predictions have no confidence")
        return
    if len(rows) < len(said):
        found.notes.append(f"calibration: {len(said) - len(rows)} predictions have no confidence and are not scored")
    words = _words(task, true)
    right = [label_of(p, words) == label for p, label, _ in rows]
    found.scores["calibration"] = calibration([confidence for _, _, confidence in rows], right)
    found.signatures["calibration"] = "bins:10|last:closed"


def _conflict(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from dataclasses import asdict

    from xemogpt.eval.consistency import conflict

    said, truth, true = _labelled(said, truth, found, "conflict")
    if not true:
        return
    subsets = [each.subset for each in truth if each.subset is not None]
    if len(subsets) < len(truth):
        found.notes.append(f"conflict: {len(truth) - len(subsets)} of {len(truth)} references have no subset")
        return
    words = _words(task, true)
    scored = conflict([label_of(each, words) for each in said], true, subsets)
    found.scores["conflict"] = asdict(scored)
    found.signatures["conflict"] = "gap:audio-video"


def _consistency(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from dataclasses import asdict

    from xemogpt.eval.consistency import consistency

    said, truth, true = _labelled(said, truth, found, "consistency")
    if not any(each.implied for each in said):
        if true:
            found.notes.append("consistency: the predictions do not have what their explanation implies")
        return
    words = _words(task, true)
    implied = [None if each.implied is None else read_label(each.implied, words) for each in said]
    predicted = [label_of(each, words) for each in said]
    found.scores["consistency"] = asdict(consistency(implied, predicted, true))
    found.signatures["consistency"] = "implied:given"


def _hit_rate(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from xemogpt.eval.open_vocabulary import hit_rate

    said, truth, true = _labelled(said, truth, found, "hit_rate")
    if not true:
        return
    grouping = task.grouping or wordnet_emotions()
    predicted = _open_words(said, grouping, found, "hit_rate")
    found.scores["hit_rate"] = hit_rate(predicted, true, grouping)
    found.signatures["hit_rate"] = f"{grouping.name}|oov:dropped"
    shuffled = mean_floor(true, lambda other: {"rate": hit_rate(predicted, other, grouping)}, task.seed)
    found.floor["hit_rate"] = shuffled and shuffled["rate"]


def _sentiment(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from xemogpt.eval.open_vocabulary import sentiment_waf

    rows = [(p.valence, t.valence) for p, t in zip(said, truth, strict=True) if t.valence is not None]
    if not rows or any(p is None for p, _ in rows):
        found.notes.append(f"sentiment: the {'predictions' if rows else 'references'} lack a valence")
        return
    ours, true = [float(p or 0) for p, _ in rows], [t for _, t in rows]
    found.scores["sentiment"] = sentiment_waf(ours, true)
    found.signatures["sentiment"] = "zeros:dropped"
    found.floor["sentiment"] = mean_floor(true, lambda other: sentiment_waf(ours, other), task.seed)


def _open_vocabulary(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    grouping = task.grouping or wordnet_emotions()
    references = [each.labels or ((each.label,) if each.label else ()) for each in truth]
    if not any(references):
        found.notes.append("open_vocabulary: the references have no labels")
        return
    predicted = _open_words(said, grouping, found, "open_vocabulary")
    found.scores["open_vocabulary"] = set_scores(predicted, references, grouping)
    found.signatures["open_vocabulary"] = f"{grouping.name}|oov:dropped"
    for sample, p, t in zip(truth, predicted, references, strict=True):
        rows = [per_sample([p], [t], grouping, wheel) for wheel in range(len(grouping.maps))]
        if values := [2 * x * y / (x + y) if x + y else 0.0 for row in rows for x, y in row]:
            found.samples[sample.id]["open_vocabulary_f1"] = sum(values) / len(values)

    def floor(shuffled: list[tuple[str, ...]]) -> dict[str, float]:
        return set_scores(predicted, shuffled, grouping)

    found.floor["open_vocabulary"] = mean_floor(references, floor, task.seed)


def words_of(record: Record) -> list[str]:
    """The open-set words of a prediction: as given, or those that its text lists or joins, without a heading.

    A list in brackets is read as MER-UniBench reads it, where "and" parts nothing.
    """
    if record.labels is not None:
        return list(record.labels)
    text = _HEADING.sub("", (record.text or record.label or "").strip())
    listed = read_labels(text if text.startswith("[") else _JOINS.sub(",", text))
    return [word for each in listed if (word := each.strip(" .!*-。！"))]


def _open_words(said: Sequence[Record], grouping: Grouping, found: Scores, metric: str) -> list[list[str]]:
    """The words of each prediction, with a note of how many have none that any wheel knows."""
    words = [words_of(each) for each in said]
    known = [any(grouping.classes(each, wheel) for wheel in range(len(grouping.maps))) for each in words]
    if unknown := known.count(False):
        found.notes.append(f"{metric}: {unknown} of {len(said)} answers have no known word")
    return words


def _emocue(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    from xemogpt.eval.cue_scores import score_cues

    score_cues(said, truth, task, found)


METRICS: dict[str, Callable[[Sequence[Record], Sequence[Record], Task, Scores], None]] = {
    "emocue_360": _emocue,
    "bleu": _bleu,
    "cider": _cider,
    "recognition": _recognition,
    "calibration": _calibration,
    "consistency": _consistency,
    "conflict": _conflict,
    "open_vocabulary": _open_vocabulary,
    "hit_rate": _hit_rate,
    "sentiment": _sentiment,
}


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError

    try:
        return version(name)
    except PackageNotFoundError:
        return None
