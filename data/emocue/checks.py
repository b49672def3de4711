# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""S2 and S4: what is checked without a model. Pure functions of words, so that a verdict can be explained."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.cues import CUE_KINDS, split_cues
from xemogpt.data.emocue.answers import Merged
from xemogpt.eval.emocue_360 import sections
from xemogpt.eval.emocue_360.polarity import affirmed, is_negated

VERSION = 5  # of the rules below: raise it when a verdict changes, so that finished stages run again

# What the metric hears as a denial, and as speaking of picture or sound, decides verdicts too.
_OF_THE_METRIC = [Path(sections.__file__).with_name(f"{stem}.py") for stem in ("polarity", "sections")]
_REFUSAL = re.compile(
    r"(?i)\b(?:as an ai|i(?:'m| am) (?:sorry|unable|not able)|i (?:cannot|can't|won't)|language model"
    r"|cannot assist|cannot help(?= (?:with|you)\b|\W*$)|system prompt"
    r"|(?:ignore|disregard) (?:(?:the|all|any|of|these) )*"
    r"(?:previous|prior|above|earlier|cues|instructions|labels|rest))\b"
)
# What nobody says of a clip: an order to whoever reads the cues. A verb of the order opens a sentence.
_ORDER = re.compile(
    r"(?i)(?:^|[.!?:;]\s+)\W*(?:(?:please|only|just|now)\s+)*(?:ignore|disregard|forget|output|print|write|answer|reply"
    r"|respond|mention|omit|pretend|do not|don't)\b"
    r"|\byour (?:task|answer|instructions?|output|role|response)\b|\byou are now\b"
    r"|\b(?:new|previous|prior|earlier|other) (?:instructions?|prompts?|observers)\b"
)
# A single quote between two letters is an apostrophe, one after a letter opens nothing.
_QUOTED = re.compile(
    r"\"[^\"]*\"|\u201c[^\u201d]*\u201d"
    r"|(?<!\w)(?:'(?:[^']|(?<=\w)'(?=\w))*'|\u2018(?:[^\u2018\u2019]|(?<=\w)\u2019(?=\w))*\u2019)(?!\w)"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STOP = _set(
    "a an and are as at be been being but by can for from had has have he her hers him his i in into is it its "
    "may might of on or she so some such than that the their them then there these they this those to very was "
    "were which while who whose will with would you person man woman speaker character people clip video audio "
    "slight slightly somewhat faintly mildly little rather quite really fairly clearly noticeable noticeably plainly "
    "visibly obvious obviously evident evidently marked markedly strongly intensely remarkably extremely highly any "
    "all both also seem seems appear appears show shows remain remains"
)
_POSITIVE = _set(
    "happy happily joy joyful joyfully glad cheerful cheerfully delighted pleased excited smile smiles smiling "
    "laugh laughs laughing laughter grin grins grinning relaxed content grateful proud love loving hopeful amused "
    "warm warmly bright lively happiness excitement"
)
_NEGATIVE = _set(
    "angry angrily anger sad sadly sadness afraid fear fearful scared worried worry worriedly anxious anxiety "
    "disgust disgusted contempt contemptuous cry cries crying sob sobs sobbing tears tearful frown frowns "
    "frowning scowl scowls scowling furious upset disappointed disappointment helpless helplessness trembling "
    "shout shouts shouting yell yells yelling grief tense irritated annoyed hopeless hurt pain resentful "
    "displeased gloomy"
)


@dataclass(frozen=True)
class GateLimits:
    """S4: bounds of the paragraph (words), of the number of cues, and how many of a final cue's content words must
    occur in the cues it names as its source. flagged: whether a final cue may rest on nothing but cues that are
    `only with label`."""

    words: tuple[int, int] = (20, 400)
    cues: tuple[int, int] = (1, 24)
    overlap: float = 0.5
    flagged: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.flagged, bool):
            raise ValueError(f"flagged: {self.flagged!r} is neither true nor false")


def rules() -> list[int | str]:
    """What decides all verdicts: the rules' version, and a digest of those that are the metric's."""
    return [VERSION, hashlib.sha256(b"".join(path.read_bytes() for path in _OF_THE_METRIC)).hexdigest()[:8]]


def verify(passes: list[dict[str, Any]], labels: Iterable[str]) -> dict[str, Any]:
    """S2: the cues of all passes as one list with flags, what was dropped and why, and conflicts.

    Args:
        passes: [{"name", "model", "sees", "blind", "cues": [{"modality", "text"}]}].
        labels: what annotators decided.

    Returns:
        {"cues": [{"id", "modality", "text", "polarity", "pass", "model", "flags"[, "also"]}],
         "dropped": [{"id", "text", "pass", "why"}], "conflicts": [{"ids", "kind"}]}; ids are `{pass}.{number}`.
    """
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, str]] = []
    sign = valence(" ".join(labels))
    blind: dict[str, list[frozenset[str]]] = {modality: [] for modality in CUE_KINDS}
    for cue in (cue for each in passes if each["blind"] for cue in each["cues"]):
        blind[cue["modality"]].append(words(cue["text"]))
    looked = any(each["blind"] for each in passes)  # also one that saw nothing: then nothing has its support
    for each in passes:
        for number, cue in enumerate(each["cues"]):
            text, modality = " ".join(cue["text"].split()), cue["modality"]
            entry: dict[str, Any] = {"id": f"{each['name']}.{number}", "text": text, "pass": each["name"]}
            if why := _drop(text, modality, each["sees"]):
                dropped.append(entry | {"why": why})
                continue
            twin = next((k for k in kept if k["modality"] == modality and _plain(k["text"]) == _plain(text)), None)
            if twin is not None:
                twin["also"] = [*twin.get("also", []), entry["id"]]
                if each["blind"]:
                    twin["flags"] = [flag for flag in twin["flags"] if flag != "only with label"]
                continue
            flags = []
            if sign and valence(text) == -sign:
                flags.append("against the label")
            if looked and not each["blind"] and not any(_alike(words(text), b) >= 0.25 for b in blind[modality]):
                flags.append("only with label")
            kept.append(
                entry | {"modality": modality, "model": each["model"], "polarity": polarity(text), "flags": flags}
            )
    return {"cues": kept, "dropped": dropped, "conflicts": _conflicts(kept)}


def gate(merged: Merged, verified: dict[str, Any], limits: GateLimits) -> list[str]:
    """S4: the reasons why a consolidation is not taken; none if it is."""
    given = {cue["id"]: cue for cue in verified["cues"]}
    reasons = []
    if not limits.cues[0] <= len(merged.cues) <= limits.cues[1]:
        reasons.append(f"number of cues: not {limits.cues[0]} to {limits.cues[1]}")
    length = len(merged.paragraph.split())
    if not limits.words[0] <= length <= limits.words[1]:
        reasons.append(f"paragraph: not {limits.words[0]} to {limits.words[1]} words")
    if any(map(_is_order, (merged.paragraph, *(cue.text for cue in merged.cues)))):
        reasons.append("a refusal, or an instruction")
    used = {source for cue in merged.cues for source in cue.sources}
    for cue in merged.cues:
        if unknown := [source for source in cue.sources if source not in given]:
            reasons.append(f"a cue rests on {len(unknown)} ids that were not given")
            continue
        evidence = set().union(*(words(given[source]["text"]) for source in cue.sources))
        if not _rests(cue.text, evidence, limits.overlap):
            reasons.append("a cue says something else than those it rests on")
        if cue.modality not in {given[source]["modality"] for source in cue.sources}:
            reasons.append("a cue changed its modality")
        if not limits.flagged and all("only with label" in given[source]["flags"] for source in cue.sources):
            reasons.append("a cue rests on what is only with label")
        if all(given[source]["polarity"] != polarity(cue.text) for source in cue.sources):
            reasons.append("a cue says the opposite of those it rests on")
    if lost := set(given) - used - {each.id for each in merged.dropped}:
        reasons.append(f"{len(lost)} given cues are neither used nor dropped")
    evidence = set().union(*(words(cue["text"]) for cue in given.values())) if given else set()
    foreign = [text for text in _SENTENCE.split(merged.paragraph) if words(text) and not words(text) & evidence]
    if not words(merged.paragraph) & evidence:
        reasons.append("the paragraph tells none of the cues")
    elif len(foreign) > 1:  # one may lead in, or name the emotion
        reasons.append("the paragraph has sentences that tell none of the cues")
    return list(dict.fromkeys(reasons))


def gate_caption(caption: str, cues: list[str], most_words: int) -> list[str]:
    """S5: the reasons why a short caption is not taken."""
    reasons = []
    if len(caption.split()) > most_words:
        reasons.append(f"caption: more than {most_words} words")
    if _is_order(caption):
        reasons.append("a refusal, or an instruction")
    evidence = set().union(*map(words, cues)) if cues else set()
    if not _rests(caption, evidence, 0.5):
        reasons.append("the caption says something else than the cues")
    alike = [cue for cue in cues if _same_thing(caption, cue)]
    if alike and all(polarity(cue) != polarity(caption) for cue in alike):
        reasons.append("the caption says the opposite of the cues")
    return reasons


def words(text: str) -> frozenset[str]:
    """The content words of a text, without their commonest endings."""
    found = re.findall(r"[a-z]+(?:'[a-z]+)?|[\u4e00-\u9fff]", text.lower())
    return frozenset(_stem(word) for word in found if word not in _STOP)


def polarity(text: str) -> int:
    """-1 for a text that denies, as the metric understands it, else 1."""
    return -1 if is_negated(text) else 1


def valence(text: str) -> int:
    """1 where more words are pleasant than unpleasant, -1 for the opposite, 0 for neither; denials turn it round."""
    found = re.findall(r"[a-z]+", text.lower())
    balance = sum((word in _POSITIVE) - (word in _NEGATIVE) for word in found) * polarity(text)
    return (balance > 0) - (balance < 0)


def _drop(text: str, modality: str, sees: list[str]) -> str | None:
    if _is_order(text):
        return "a refusal, or an instruction"
    if modality == "visual" and "frames" not in sees:
        return "speaks of the picture, which was not shown"
    if modality == "audio" and "audio" not in sees:
        return "speaks of the sound, which was not played"
    if modality == "global":
        return None
    apparent = next((kind for kind in ("visual", "audio") if split_cues(text)[kind]), "global")
    if apparent != "global" and apparent != modality:
        return f"is called {modality}, but speaks of {apparent}"
    return None


def _is_order(text: str) -> bool:
    """Whether a text refuses, or tells its reader what to do. What is quoted in it was said in the clip."""
    own = _QUOTED.sub(" ", text)
    text = own if any(map(str.isalpha, own)) else text
    return bool(_REFUSAL.search(text) or _ORDER.search(text))


def _rests(text: str, evidence: frozenset[str] | set[str], least: float) -> bool:
    """Whether a text has words that can be compared, and so many of them are in the evidence."""
    found = words(text)
    return bool(found & evidence) and len(found & evidence) >= least * len(found)


def _conflicts(cues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index, one in enumerate(cues):
        for other in cues[index + 1 :]:
            differ = one["modality"] == other["modality"] and one["polarity"] != other["polarity"]
            if differ and _same_thing(one["text"], other["text"]):
                found.append({"ids": [one["id"], other["id"]], "kind": "polarity"})
    for first, second in (("visual", "audio"), ("visual", "global"), ("audio", "global")):
        signs = {}
        for modality in (first, second):
            charged = [cue for cue in cues if cue["modality"] == modality and valence(cue["text"])]
            total = sum(valence(cue["text"]) for cue in charged)
            signs[modality] = ((total > 0) - (total < 0), [cue["id"] for cue in charged])
        if signs[first][0] * signs[second][0] < 0:
            found.append({"ids": signs[first][1] + signs[second][1], "kind": f"{first} against {second}"})
    return found


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def _same_thing(one: str, other: str) -> bool:
    """Whether half of the shorter of two texts is in the other, denied or not: a denial is short."""
    found, others = words(affirmed(one)), words(affirmed(other))
    return bool(found and others) and len(found & others) >= 0.5 * min(len(found), len(others))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _stem(word: str) -> str:
    for ending in ("ing", "ied", "ies", "ed", "ly", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word.removesuffix("e") if len(word) > 3 else word
