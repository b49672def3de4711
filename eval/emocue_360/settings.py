# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The presets of EmoCue-360, and every flag in which a run may differ from them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .cue_schema import MODALITIES, SPELLINGS


@dataclass(frozen=True)
class Settings:
    """All that decides a score; the defaults are the preset `official`.

    text_filter: drop audio cues with the substring "text". unnamed_global: a prediction that does not name the global
    dimension scores 0 there even where the reference has no global cue. missing_is_zero: so does a reference without
    prediction, in every dimension (else it is not scored). drop_quotations: what is all quotation is no cue (a cue
    of kind `subtitle` never is). deduplicate: after case-folding, and without blank ones. assign: one-to-one, in place
    of each cue's best. tau: pairs under it are none (with `assign`).
    polarity: contradicting pairs have similarity 0. rescale: (S - b) / (1 - b), clipped to [0, 1], where b is the mean
    cosine of reference cues of different samples, or what `baseline` gives. derangements: how many the floor is the
    mean of. bootstrap: resamples of the 95 % interval.
    """

    modalities: frozenset[str] = frozenset({"visual", "audio"})
    text_filter: bool = True
    unnamed_global: bool = True
    missing_is_zero: bool = False
    drop_quotations: bool = False
    deduplicate: bool = False
    assign: bool = False
    tau: float = 0.0
    polarity: bool = False
    rescale: bool = False
    baseline: tuple[tuple[str, float], ...] = ()
    derangements: int = 0
    bootstrap: int = 0
    seed: int = 0

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The declared modalities and global, in the paper's order."""
        return tuple(name for name in MODALITIES if name == "global" or name in self.modalities)

    def differences(self, other: "Settings") -> str:
        """What differs from `other`, for signatures."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(other, field.name):
                parts.append(f"|{field.name}:{_shown(value)}")
        return "".join(parts)


PRESETS = {
    "official": Settings(),
    "equation": Settings(text_filter=False, unnamed_global=False),
    "robust": Settings(
        text_filter=False,
        unnamed_global=False,
        missing_is_zero=True,
        drop_quotations=True,
        deduplicate=True,
        assign=True,
        tau=0.3,
        polarity=True,
        rescale=True,
        derangements=20,
        bootstrap=2000,
    ),
}


def choose(preset: str, changes: Mapping[str, Any]) -> Settings:
    """The preset with `changes`; modalities in either spelling, global may be named or not.

    Raises:
        ValueError: no such preset, flag or modality, no modality, or a value out of its range.
    """
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    if unknown := set(changes) - {field.name for field in fields(Settings)}:
        raise ValueError(f"unknown setting {', '.join(sorted(unknown))}")
    changed = dict(changes)
    if isinstance(modalities := changed.get("modalities"), str):
        raise ValueError(f"modalities must be a set of names, not the string {modalities!r}")
    if modalities is not None:
        if unknown := {str(name) for name in modalities} - set(SPELLINGS):
            raise ValueError(f"unknown modality {', '.join(sorted(unknown))}")
        changed["modalities"] = frozenset(SPELLINGS[name] for name in modalities) - {"global"}
        if not changed["modalities"]:
            raise ValueError("modalities must name visual, audio or both: those that the model gets")
    else:
        changed.pop("modalities", None)
    if "baseline" in changed:
        changed["baseline"] = tuple(sorted((name, float(value)) for name, value in dict(changed["baseline"]).items()))
    settings = replace(PRESETS[preset], **changed)
    if settings.tau and not settings.assign:
        raise ValueError("tau needs assign=True: without pairs there is nothing to leave out")
    if settings.baseline and not settings.rescale:
        raise ValueError("baseline needs rescale=True")
    if not 0 <= settings.tau <= 1 or min(settings.derangements, settings.bootstrap) < 0:
        raise ValueError("tau must be in [0, 1], derangements and bootstrap not negative")
    return settings


def _shown(value: Any) -> str:
    if isinstance(value, frozenset):
        return "+".join(sorted(value))
    if isinstance(value, tuple):
        return "+".join(f"{name}={number:g}" for name, number in value)
    return f"{value:g}" if isinstance(value, float) else str(int(value))
