# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Readers of public data sets: a local root in, `EmotionSample`s out, and a list of all that is missing.

    for sample in read_dataset("mer-caption-plus", "MER2025"): ...

Nothing is downloaded: these sets are gated, most for non-commercial research only. Samples come one by one.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from xemogpt.data.readers import exchange, folder, in_the_wild, mer
from xemogpt.data.readers.source import IncompleteDataError, Problem, Source
from xemogpt.data.sample import EmotionSample

__all__ = ["READERS", "IncompleteDataError", "Problem", "open_dataset", "read_dataset"]

_GATED = "gated, non-commercial"
_OWN = "see the source"
READERS: dict[str, tuple[Callable[..., Iterator[EmotionSample]], str]] = {  # name: (reader, licence of the annotation)
    "emer-v1": (mer.read_emer_v1, _GATED),
    "emer-v2": (mer.read_emer_v2, _GATED),
    "ov-merd-plus": (mer.read_ov_merd_plus, _GATED),
    "mer2023": (mer.read_mer2023, _GATED),
    "mer2025-track1": (partial(mer.read_mer2025, track=1), _GATED),
    "mer2025-track2": (partial(mer.read_mer2025, track=2), _GATED),
    "mer2025-track3": (partial(mer.read_mer2025, track=3), _GATED),
    "mer-caption-plus": (mer.read_mer_caption_plus, _GATED),
    "mafw": (in_the_wild.read_mafw, _GATED),
    "dfew": (in_the_wild.read_dfew, _GATED),
    "m3ed": (in_the_wild.read_m3ed, _GATED),
    "speechcraft": (exchange.read_speechcraft, _OWN),
    "ca-mer": (exchange.read_ca_mer, _OWN),
    "conversations": (exchange.read_conversations, _OWN),
    "cues": (exchange.read_cues, _OWN),
    "folder": (folder.read_folder, _OWN),
    "manifest": (exchange.read_own_manifest, _OWN),
}


def read_dataset(
    name: str,
    root: str | os.PathLike,
    *,
    strict: bool = True,
    verify: bool = True,
    links: bool = False,
    probe: bool = False,
    problems: list[Problem] | None = None,
    **options: Any,
) -> Iterator[EmotionSample]:
    """The samples of a data set, one by one.

    Args:
        name: a key of READERS.
        root: folder of your copy.
        strict: refuse a copy with losses before the first sample; False gives what is there.
        verify: False fills in the paths of the documented layout and looks at no file, for work on annotations alone.
        links: follow symbolic links out of the root.
        probe: open every file, and list those that are not what they seem; an mp4 without pictures becomes sound.
        problems: a list to which everything that is not as it should be is added.
        options: of the reader, such as `fold=2`.

    Raises:
        ValueError: no such reader or option, or a table that cannot be read.
        FileNotFoundError: no such root, or a table is not there.
        IncompleteDataError: strict, and there are losses; it names them.
    """

    def open_it() -> tuple[Source, Iterator[EmotionSample]]:
        return open_dataset(name, root, verify=verify, links=links, probe=probe, **options)

    if strict:
        source, samples = open_it()
        for _ in samples:
            pass
        if losses := [problem for problem in source.problems if problem.is_loss]:
            raise IncompleteDataError(name, source.root, losses)
    source, samples = open_it()
    if problems is not None:
        source.problems = problems
    yield from samples


def open_dataset(name: str, root: str | os.PathLike, **options: Any) -> tuple[Source, Iterator[EmotionSample]]:
    """A data set's samples with the source they come from: its `problems` and `seconds` fill as they are taken.

    Args: as `read_dataset`'s; never strict.
    """
    if name not in READERS:
        raise ValueError(f"no reader {name!r}; there are {', '.join(READERS)}")
    read, licence = READERS[name]
    shared = {key: options.pop(key) for key in ("verify", "links", "probe") if key in options}
    source = Source(name, root, licence, **shared)
    try:
        return source, _at_least_one(source, read(source, **options))
    except TypeError as error:  # a generator: only the arguments have been looked at
        raise ValueError(f"{name}: {error}; docs/data.md has the options of each reader") from None


def _at_least_one(source: Source, samples: Iterator[EmotionSample]) -> Iterator[EmotionSample]:
    there = False
    for sample in samples:
        there = True
        yield sample
    if not there and not any(problem.is_loss for problem in source.problems):
        source.note("no sample", str(source.root), "no row names a clip")
