# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Benchmarks as versioned data: a YAML file each in eval/benchmarks/, strictly validated.

Nothing of the data sets is here: `Benchmark.read` takes a folder with the files as their owners publish them, and says
by name what is missing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from xemogpt.eval.records import COLUMNS, Record, match_ids, read_records, shown, to_record
from xemogpt.eval.score import METRICS
from xemogpt.prompts_xemogpt import PROMPTS, Prompt

FOLDER = Path(__file__).parent / "benchmarks"
TASKS = ("explain", "recognise", "open_vocabulary", "conflict")
FORMATS = ("table", "folds", "m3ed")
MEDIA = ("video", "audio")


@dataclass(frozen=True)
class Source:
    """Where annotations are: the first of `files` that is there (patterns as in glob; {fold} is filled in).

    format: `table` is a .csv, .json or .jsonl file; `folds` has lines `00025.mp4 anger`; `m3ed` is annotation.json,
    restricted to the movies of `split`. codes: what stands in the file -> label. optional: may be missing.
    """

    files: tuple[str, ...]
    format: str = "table"
    columns: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    split: tuple[str, ...] = ()
    optional: bool = False


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

    version changes whenever a number would. labels: label -> the words that count as it. folds: 0 for none.
    """

    name: str
    version: int
    title: str
    task: str
    language: str
    prompt: Prompt
    generation: Mapping[str, Any]
    metrics: tuple[str, ...]
    annotations: tuple[Source, ...]
    media: Mapping[str, tuple[str, ...]]
    subtitles: Source | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    count: int | None = None
    folds: int = 0

    @property
    def words(self) -> dict[str, str]:
        """Each accepted word, lower-cased, to its label."""
        return {word.casefold(): label for label, words in self.labels.items() for word in (label, *words)}

    def read(self, root: str | Path, fold: int | None = None) -> list[Item]:
        """The items found under `root`, in the order of the first annotation file.

        Raises:
            FileNotFoundError: no such folder, or an annotation file is missing; names what was looked for.
            ValueError: a malformed file, or a label outside the label set.
        """
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; --root is where {self.title} was unpacked")
        if self.folds and fold not in range(1, self.folds + 1):
            raise ValueError(f"{self.name} has folds 1 to {self.folds}: choose one with --fold")
        if fold is not None and not self.folds:
            raise ValueError(f"{self.name} has no folds")
        references: dict[str, dict[str, Any]] = {}
        for place, source in enumerate(self.annotations):
            if (path := _find(root, source, fold)) is not None:
                found = _read(path, source, root)
                for name in found if not place else match_ids(found, {n: Record(n) for n in references})[0]:
                    references[name] = references.get(name, {}) | found[name].to_row()
        records = [Record(**row) for row in references.values()]
        for record in records:
            if self.labels and record.label not in self.labels:
                raise ValueError(f"{record.id}: label {record.label!r} is none of {', '.join(self.labels)}")
        if self.annotations[0].format == "m3ed":  # its texts are what is said, and no reference
            said = {record.id: record for record in records}
            records = [Record(record.id, label=record.label) for record in records]
            return [self._item(root, record, said) for record in records]
        spoken = None if self.subtitles is None else _find(root, self.subtitles, fold)
        said = _read(spoken, self.subtitles, root) if spoken and self.subtitles else {}
        return [self._item(root, record, said) for record in records]

    def _item(self, root: Path, record: Record, said: Mapping[str, Record]) -> Item:
        video, audio = (self._medium(root, kind, record.id) for kind in MEDIA)
        return Item(record, video, audio, said[record.id].text if record.id in said else None)

    def _medium(self, root: Path, kind: str, name: str) -> Path | None:
        paths = (root / pattern.replace("{id}", name) for pattern in self.media.get(kind, ()))
        return next((path for path in paths if path.is_file()), None)

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
    for medium in data["media"]:
        _one_of(medium, MEDIA, "medium")
    if not data["annotations"] or data["annotations"][0].get("optional"):
        raise ValueError("annotations: the first source must be there, and not optional")
    data["prompt"] = _prompt(data["prompt"])
    data["annotations"] = tuple(_source(each) for each in data["annotations"])
    data["subtitles"] = _source(data["subtitles"]) if data.get("subtitles") else None
    data["metrics"] = tuple(data["metrics"])
    data["media"] = {kind: tuple(patterns) for kind, patterns in data["media"].items()}
    data["labels"] = {label: tuple(words) for label, words in data.get("labels", {}).items()}
    benchmark = Benchmark(**data)
    said = [word.casefold() for label, words in benchmark.labels.items() for word in {label, *words}]
    if twice := {word for word in said if said.count(word) > 1}:
        raise ValueError(f"labels: {', '.join(sorted(twice))} stands for two labels")
    if benchmark.task in ("recognise", "conflict") and not benchmark.labels:
        raise ValueError(f"a task of kind {benchmark.task} needs labels")
    return benchmark


def _source(data: Any) -> Source:
    data = _keys(data, Source, "a source")
    _one_of(data.get("format", "table"), FORMATS, "format")
    for column in data.get("columns", {}):
        _one_of(column, tuple(COLUMNS), "column")
    codes = {str(code): label for code, label in data.get("codes", {}).items()}
    return Source(**data | {"files": tuple(data["files"]), "split": tuple(data.get("split", ())), "codes": codes})


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


def _find(root: Path, source: Source, fold: int | None) -> Path | None:
    """The source's file; several that match one pattern are refused rather than guessed among."""
    patterns = [pattern.replace("{fold}", str(fold)) for pattern in source.files]
    for pattern in patterns:
        found = sorted(root.glob(pattern))
        if len(found) > 1:
            raise ValueError(f"{root}: {pattern} is there {len(found)} times ({shown(map(str, found), 3)}); keep one")
        if found:
            return found[0]
    if source.optional:
        return None
    raise FileNotFoundError(f"{root}: has no {' or '.join(patterns)}")


def _read(path: Path, source: Source, root: Path) -> dict[str, Record]:
    if source.format == "table":
        records = read_records(path, source.columns)
    elif source.format == "folds":
        records = _fold_lines(path)
    else:
        records = _m3ed(path, source, root)
    if not source.codes:
        return records
    coded = {}
    for name, record in records.items():
        if (code := record.label or "") not in source.codes:
            raise ValueError(f"{path}: label {code!r} of {name} is none of {', '.join(source.codes)}")
        if source.codes[code]:  # an empty one marks clips that have no single label: they are no items
            coded[name] = Record(**record.to_row() | {"label": source.codes[code]})
    return coded


def _fold_lines(path: Path) -> dict[str, Record]:
    """MAFW's folds: a file name and a label on each line."""
    records: dict[str, Record] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            name, _, label = line.strip().partition(" ")
            stem = name.rpartition(".")[0] or name
            if not label.strip() or stem in records:
                raise ValueError(f"{path}, line {number}: {'has no label' if not label.strip() else f'{stem} twice'}")
            records[stem] = Record(stem, label=label.strip())
    return records


def _m3ed(path: Path, source: Source, root: Path) -> dict[str, Record]:
    """M3ED's annotation.json: one record an utterance, of the movies that the split's list names."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: is not JSON ({error.msg})") from None
    movies = list(data)
    if source.split:
        listed = _find(root, Source(source.split), None)
        assert listed is not None
        movies = listed.read_text(encoding="utf-8-sig").split()
        if absent := [movie for movie in movies if movie not in data]:
            raise ValueError(f"{path}: has no movie {shown(absent)}, which {listed.name} lists")
    rows = [
        {"id": name, "text": said["Text"], "label": said["EmoAnnotation"]["final_main_emo"].casefold()}
        for movie in movies
        for clip in data[movie].values()
        for name, said in clip["Dialog"].items()
    ]
    return {row["id"]: to_record(row) for row in rows}
