# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""S6 and S7: the data set with its provenance, its rejects, its card and its review sample; and what it all cost.

    dataset/train.parquet, validation.parquet   `xemogpt.data.schema.features()`; cues name the model they come from;
                                                beside them a table for each other split of the source
    dataset/provenance.jsonl                    of each clip the cues of S1, what was dropped and why, conflicts
    dataset/rejects.jsonl                       of each clip that is not in it, the stage and the reason
    dataset/review.jsonl                        stratified clips with the new and the old text, for people to judge
    dataset/README.md                           the card
    report.json                                 requests, failures, tokens and cost, by stage and model

The data set depends on the recipe, the input and the answers alone, so a resumed build gives the same bytes; the
report tells also of repeats.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xemogpt.data.emocue.checks import polarity
from xemogpt.data.emocue.recipe import Recipe
from xemogpt.data.emocue.stages import PipelineStep, Row, write_rows
from xemogpt.data.export import write_parquet
from xemogpt.data.jsonl import read_rows
from xemogpt.data.sample import Cue, EmotionSample

if TYPE_CHECKING:
    from xemogpt.data.emocue.build import Plan


class Publish(PipelineStep):
    """The last step; one task."""

    type, name = "EmoCue", "publish"

    def __init__(self, recipe: Recipe, plan: "Plan"):
        super().__init__()
        self.recipe, self.plan = recipe, plan

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write the data set beside the old one, then put it in its place."""
        out = Path(self.recipe.out)
        rows, rejects = self._collect()
        fresh, old = out / ".dataset.part", out / ".dataset.old"
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
        fresh.mkdir()
        splits = self._tables(rows, fresh)
        write_rows(fresh / "provenance.jsonl", [_provenance(row) for row in rows])
        write_rows(fresh / "rejects.jsonl", rejects)
        write_rows(fresh / "review.jsonl", review_sample(rows, self.recipe.review))
        card = self._card(rows, rejects, splits)
        (fresh / "README.md").write_text(card, encoding="utf-8")
        report = {"clips": self.plan.clips, "published": len(rows), "rejected": len(rejects), "asked": self._report()}
        (out / ".report.part").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        os.replace(out / ".report.part", out / "report.json")
        if self.plan.dataset.exists():
            self.plan.dataset.rename(old)
        fresh.rename(self.plan.dataset)
        shutil.rmtree(old, ignore_errors=True)
        yield from ()

    def _collect(self) -> tuple[list[Row], list[Row]]:
        """All clips, sorted by id: each is published or rejected, and nothing is both."""
        folders = [folder for _, folder in self.plan.folders]
        rows = [row for path in sorted(folders[-1].glob("shard-*.jsonl")) for row in read_rows(path)]
        rejects = [row for each in folders for path in sorted(each.glob("rejects-*.jsonl")) for row in read_rows(path)]
        here = os.path.abspath(self.recipe.input["root"]) + os.sep  # of this machine, and nobody's concern elsewhere
        rejects = [row | {"detail": row["detail"].replace(here, "")} if "detail" in row else row for row in rejects]
        ends = Counter(row["id"] for row in (*rows, *rejects))
        if len(ends) != self.plan.clips or set(ends.values()) - {1}:
            raise ValueError(
                f"{self.recipe.out}: {self.plan.clips} clips went in, {len(ends)} came out, "
                f"{sum(count > 1 for count in ends.values())} of them more than once: was a stage folder changed?"
            )
        return sorted(rows, key=lambda row: row["id"]), sorted(rejects, key=lambda row: row["id"])

    def _tables(self, rows: list[Row], folder: Path) -> dict[str, int]:
        root = Path(os.path.abspath(self.recipe.input["root"]))
        by_split: dict[str, list[EmotionSample]] = defaultdict(list)
        for row in rows:
            sample = to_sample(row, root)
            split = self._split(sample)
            by_split[split].append(dataclasses.replace(sample, split=split))
        for split, samples in by_split.items():
            write_parquet(samples, folder / f"{split}.parquet")
        return {split: len(samples) for split, samples in sorted(by_split.items())}

    def _split(self, sample: EmotionSample) -> str:
        """What the source holds out stays so; of the rest by the id alone, so that a clip never changes sides."""
        if sample.split and sample.split != "train":
            return re.sub(r"\W+", "_", sample.split)  # the Hub's names of splits, and files, have no others
        return "validation" if share(sample.id) < self.recipe.validation else "train"

    def _report(self) -> list[Row]:
        """Of every log of the build, also those of stages that a changed recipe has left behind."""
        found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for path in sorted(Path(self.recipe.out).glob("*/requests-*.jsonl")):
            for row in read_rows(path, whole=False):  # a kill may have torn the log of a stage that was left behind
                entry = found[path.parent.name, row["model"]]
                entry["answers"] += 1
                entry["repeats"] += row["attempt"] > 0
                entry["errors"] += row["error"] is not None
                entry["tokens_in"] += row["tokens"][0]
                entry["tokens_out"] += row["tokens"][1]
                entry["micro_usd"] += round(row["usd"] * 1e6)
        current = {folder.name for _, folder in self.plan.folders}
        rows = []
        for (stage, model), entry in found.items():
            cost = {"usd": entry.pop("micro_usd") / 1e6}
            rows.append({"stage": stage, "current": stage in current, "model": model, **entry, **cost})
        return rows

    def _card(self, rows: list[Row], rejects: list[Row], splits: dict[str, int]) -> str:
        reasons = Counter((row["stage"], row["reason"]) for row in rejects)
        flags = Counter(flag for row in rows for cue in row["verified"]["cues"] for flag in cue["flags"])
        dropped = Counter(cue["why"] for row in rows for cue in row["verified"]["dropped"])
        cues = Counter(cue.modality for row in rows for cue in to_sample(row).cues)
        conflicts = Counter(each["kind"] for row in rows for each in row["verified"]["conflicts"])
        recipe = self.recipe
        models = sorted({recipe.endpoints[each.endpoint].model for each in _askers(recipe)})
        files = "\n".join(f"  - split: {split}\n    path: {split}.parquet" for split in splits)
        return (
            f"---\nlicense: {recipe.licence}\nlanguage: en\ntags: [emotion, explainable, xemogpt]\n"
            f"configs:\n- config_name: default\n  data_files:\n{files}\n---\n\n# {Path(recipe.out).name}\n\n"
            f"Cues of emotion, written by models from {self.plan.clips} clips of `{recipe.input['reader']}`, checked "
            "by rules, not by people (`review.jsonl` is for them). The clips themselves are not here: paths are those "
            "below the source's root.\n\n"
            + _table("Split", splits)
            + _table("Cues by modality", cues)
            + _table("Rejected clips (stage: reason)", {f"{stage}: {why}": n for (stage, why), n in reasons.items()})
            + _table("Cues dropped before the merge", dropped)
            + _table("Flags of the cues given to the merge", flags)
            + _table("Conflicts", conflicts)
            + _table("Prompt", recipe.prompts())
            + "Models: "
            + ", ".join(f"`{model}`" for model in models)
            + ".\n"
        )


def to_sample(row: Row, root: Path | None = None) -> EmotionSample:
    """The sample of a finished clip: its text is the new paragraph, its cues name the passes and models they rest on.
    Paths are relative to `root`, where they lie below it."""
    sample = EmotionSample.from_row(row["sample"])
    given = {cue["id"]: cue for cue in row["verified"]["cues"]}
    cues = []
    for cue in row["merged"]["cues"] if "merged" in row else row["verified"]["cues"]:
        ids = cue.get("from") or [cue["id"]]
        kind = "inference" if cue["modality"] == "global" else "observation"
        said_by = "; ".join(f"{id} ({given[id]['model']})" for id in ids)
        cues.append(Cue(cue["text"], cue["modality"], kind=kind, polarity=polarity(cue["text"]), source=said_by))
    media: dict[str, Any] = {}
    for kind in ("video", "audio"):
        path = getattr(sample, kind)
        if path and root and Path(path).is_relative_to(root):  # also of a link that leads elsewhere
            media[kind] = Path(path).relative_to(root).as_posix()
    text = {"en": row["merged"]["paragraph"]} if "merged" in row else {}
    fresh: dict[str, Any] = media | {"text": text, "caption": row.get("caption"), "cues": tuple(cues)}
    return dataclasses.replace(sample, **fresh)


def review_sample(rows: list[Row], size: int) -> list[Row]:
    """S7: `size` clips that have a new text, of every label one and then its share; and which text stands left is
    drawn by the id."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if not _new_text(row):
            continue
        sample = EmotionSample.from_row(row["sample"])
        groups[sample.label or (sample.labels[0] if sample.labels else "")].append(row)
    places: list[tuple[float, float, Row]] = []
    for group in groups.values():
        drawn = sorted((share(row["id"], "review"), index) for index, row in enumerate(group))
        places += [(place / len(group), luck, group[index]) for place, (luck, index) in enumerate(drawn)]
    taken = [row for _, _, row in sorted(places, key=lambda each: each[:2])[:size]]
    chosen = []
    for row in sorted(taken, key=lambda row: share(row["id"], "review")):
        sample = EmotionSample.from_row(row["sample"])
        texts = {"new": _new_text(row), "old": sample.text.get("en", "")}
        left, right = ("new", "old") if share(row["id"], "side") < 0.5 else ("old", "new")
        chosen.append({"id": row["id"], "video": sample.video, "audio": sample.audio, "label": sample.label})
        chosen[-1] |= {"left": texts[left], "right": texts[right], "left_is": left}
    return chosen


def _new_text(row: Row) -> str:
    return str(row["merged"]["paragraph"] if "merged" in row else row.get("caption", ""))


def push_to_hub(dataset: Path, repo: str) -> str:
    """Upload a finished data set to a private repository of the Hub and return its address; the token is the Hub's."""
    from huggingface_hub import HfApi

    if not (dataset / "README.md").is_file():
        raise FileNotFoundError(f"{dataset}: no finished data set; build it first")
    api = HfApi()
    api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    return str(
        api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=dataset, ignore_patterns=["review.jsonl"])
    )


def share(id: str, salt: str = "split") -> float:
    """A number from 0 to 1 that an id always has."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{id}".encode()).digest()[:6]) / 2**48


def _provenance(row: Row) -> Row:
    merged = {key: value for key, value in row.get("merged", {}).items() if key != "paragraph"}
    return {"id": row["id"], **row["verified"], "merged": merged}


def _askers(recipe: Recipe) -> list[Any]:
    return [each for each in (*recipe.infer, recipe.merge, recipe.short) if each is not None]


def _table(title: str, counts: dict[str, Any]) -> str:
    rows = "".join(f"| {name} | {value} |\n" for name, value in sorted(counts.items()))
    return f"| {title} | |\n|---|---|\n{rows}\n" if counts else ""
