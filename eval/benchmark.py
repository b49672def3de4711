# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Benchmarks as versioned data: a YAML file each in eval/benchmarks/, strictly validated.

Nothing of the data sets is here: `Benchmark.read` takes a folder with the files as their owners publish them, reads it
with the readers of `xemogpt.data.readers`, and says by name what is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from xemogpt.data.readers import READERS, open_dataset
from xemogpt.data.readers.source import Problem
from xemogpt.data.sample import MODALITIES, EmotionSample
from xemogpt.eval.records import Record, match_ids, read_records, shown
from xemogpt.eval.score import METRICS
from xemogpt.prompts_xemogpt import PROMPTS, Prompt

FOLDER = Path(__file__).parent / "benchmarks"
TASKS = ("explain", "recognise", "open_vocabulary", "conflict")
UNREADABLE = ("bad value", "conflicting rows")  # of a reader's problems those that make a reference doubtful


@dataclass(frozen=True)
class Item:
    """One clip of a benchmark: its reference, its media (None: not there) and what is said in it."""

    reference: Record
    video: Path | None
    audio: Path | None
    subtitle: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A task that can be repeated: what is asked of which clips, and how answers are scored.

    version changes whenever a number would. reader, options: of `xemogpt.data.readers`. split: the clips that count;
    all, where it is empty. more: files in the root that may add to the references, such as extracted cues. subtitles:
    files, of which the first that is there says what is spoken. labels: label -> the words that count as it. folds: 0
    for none.
    """

    name: str
    version: int
    title: str
    task: str
    language: str
    prompt: Prompt
    generation: Mapping[str, Any]
    metrics: tuple[str, ...]
    reader: str
    options: Mapping[str, Any] = field(default_factory=dict)
    split: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    subtitles: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    count: int | None = None
    folds: int = 0

    @property
    def words(self) -> dict[str, str]:
        """Each accepted word, lower-cased, to its label."""
        return {word.casefold(): label for label, words in self.labels.items() for word in (label, *words)}

    def read(self, root: str | Path, fold: int | None = None) -> list[Item]:
        """The items that the annotations under `root` name, whether their clips are there or not.

        Clips without a single label are no items of a task that asks for one.

        Raises:
            FileNotFoundError: no such folder, or a table is missing; names what was looked for.
            ValueError: a malformed table, or a label outside the label set.
        """
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; --root is where {self.title} was unpacked")
        if self.folds and fold not in range(1, self.folds + 1):
            raise ValueError(f"{self.name} has folds 1 to {self.folds}: choose one with --fold")
        if fold is not None and not self.folds:
            raise ValueError(f"{self.name} has no folds")
        options = {**self.options, **({"fold": fold} if fold else {})}
        annotated, doubtful = self._samples(root, options | {"verify": False})
        if doubtful:
            raise ValueError(f"{root}: {len(doubtful)} annotations cannot be read: {shown(map(str, doubtful), 3)}")
        if not annotated:
            raise FileNotFoundError(f"{root}: annotates no clip of {self.title}{self._wanted}")
        there: Mapping[str, EmotionSample | None] = self._samples(root, options | {"links": True})[0]
        references = {name: self._record(sample) for name, sample in annotated.items()}
        for path in filter(Path.is_file, (root / name for name in self.more)):
            found = read_records(path)
            for name in match_ids(found, references)[0]:
                references[name] = Record(**references[name].to_row() | found[name].to_row())
        if self.labels:
            references = {name: each for name, each in references.items() if each.label is not None}
            if wrong := [each for each in references.values() if each.label not in self.labels]:
                raise ValueError(f"{wrong[0].id}: label {wrong[0].label!r} is none of {', '.join(self.labels)}")
        said = next((read_records(root / name) for name in self.subtitles if (root / name).is_file()), {})
        return [
            self._item(each, annotated[name], there.get(name), said.get(name)) for name, each in references.items()
        ]

    @property
    def _wanted(self) -> str:
        return f" (split {' or '.join(self.split)})" if self.split else ""

    def _samples(self, root: Path, options: dict[str, Any]) -> tuple[dict[str, EmotionSample], list[Problem]]:
        """The samples of the split, and what cannot be read and is not known to be of another split."""
        source, every = open_dataset(self.reader, root, **options)
        samples = {each.id: each for each in every}
        kept = {name: each for name, each in samples.items() if not self.split or each.split in self.split}
        others = samples.keys() - kept.keys()
        return kept, [each for each in source.problems if each.kind in UNREADABLE and each.id not in others]

    def _record(self, sample: EmotionSample) -> Record:
        cues = {kind: [cue.text for cue in sample.cues_of(kind)] for kind in MODALITIES} if sample.cues else None
        subset = sample.split if self.task == "conflict" else None
        text = sample.text.get(self.language)
        return Record(sample.id, text, cues, sample.label, sample.labels or None, subset, sample.valence)

    def _item(self, truth: Record, sample: EmotionSample, there: EmotionSample | None, said: Record | None) -> Item:
        video, audio = (Path(p) if p else None for p in ((there.video, there.audio) if there else (None, None)))
        spoken = sample.subtitle.get(self.language) or next(iter(sample.subtitle.values()), None)
        return Item(truth, video, audio, spoken if said is None else said.text)

    def without_media(self, items: list[Item]) -> list[str]:
        """Ids of items that have neither video nor audio."""
        return [item.reference.id for item in items if item.video is None and item.audio is None]


def names() -> list[str]:
    """The benchmarks that come along."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_benchmark(name: str | Path) -> Benchmark:
    """A benchmark by its name, or from a YAML file of your own.

    Raises:
        ValueError: an unknown name, or a file that is not a valid benchmark; says which key.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if path.parent == FOLDER and not path.is_file():
        raise ValueError(f"unknown benchmark {str(name)!r}; there are {', '.join(names())}, or give a .yaml file")
    try:
        import yaml
    except ImportError:
        raise ImportError('benchmarks need PyYAML: pip install "xemogpt[eval]"') from None
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    try:
        return parse(data)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def parse(data: Any) -> Benchmark:
    """A benchmark out of what its YAML file holds; refuses unknown and missing keys, and values that cannot be."""
    data = _keys(data, Benchmark, "the benchmark")
    for key in ("name", "title"):
        if not isinstance(data[key], str) or not data[key]:
            raise ValueError(f"{key} must be a text")
    if not isinstance(data["version"], int) or data["version"] < 1:
        raise ValueError(f"version must be a whole number from 1, not {data['version']!r}")
    _one_of(data["task"], TASKS, "task")
    _one_of(data["language"], ("en", "zh"), "language")
    for metric in data["metrics"]:
        _one_of(metric, tuple(METRICS), "metric")
    _one_of(data["reader"], tuple(READERS), "reader")
    data["prompt"] = _prompt(data["prompt"])
    for key in ("metrics", "split", "more", "subtitles"):
        data[key] = tuple(data.get(key, ()))
    data["labels"] = {label: tuple(words) for label, words in data.get("labels", {}).items()}
    benchmark = Benchmark(**data)
    said = [word.casefold() for label, words in benchmark.labels.items() for word in {label, *words}]
    if twice := {word for word in said if said.count(word) > 1}:
        raise ValueError(f"labels: {', '.join(sorted(twice))} stands for two labels")
    if benchmark.task in ("recognise", "conflict") and not benchmark.labels:
        raise ValueError(f"a task of kind {benchmark.task} needs labels")
    return benchmark


def _prompt(given: Any) -> Prompt:
    """By its id in `prompts_xemogpt`, or written out as id and text."""
    if isinstance(given, str):
        known = {prompt.id: prompt for prompt in PROMPTS.values()}
        _one_of(given, tuple(known), "prompt")
        return known[given]
    return Prompt(**_keys(given, Prompt, "prompt"))


def _keys(data: Any, cls: type, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{what} is {type(data).__name__}, not a mapping")
    known = {each.name: each for each in fields(cls)}
    if unknown := set(data) - set(known):
        raise ValueError(f"{what} has the unknown key {', '.join(sorted(map(str, unknown)))}")
    from dataclasses import MISSING

    must = {name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING}
    if missing := must - set(data):
        raise ValueError(f"{what} lacks {', '.join(sorted(missing))}")
    return dict(data)


def _one_of(value: Any, choices: tuple[str, ...], what: str) -> None:
    if value not in choices:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")
