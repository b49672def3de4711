# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Write eval/wordnet_emotions.json: the words of WordNet 3.0's feelings, one class a branch.

    python scripts/make_wordnet_emotions.py DICT        # a folder with data.noun, index.noun, data.adj, ...

(Debian: apt-get install wordnet-base, /usr/share/wordnet.) A class is a direct hyponym of "feeling", or of "emotion"
or "emotional_state" below it. A word gets the class of its first noun sense in the tree; else of the noun that it, as
an adjective, is derived from; else of the noun that its verb is derived from ("surprised", of surprise); else of the
noun whose value it is ("afraid", of fear); else of the adjective that it is a satellite of.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT_LEMMAS = ("feeling", "emotion", "emotional_state")  # the spine: its children are the classes
FEELING_LEXNAMES = {"12", "26", "03"}  # noun.feeling, noun.state, noun.Tops
# Branches that WordNet separates and that every label set of the field has as one.
MERGED = {"joy": "happiness", "pleasure": "happiness", "hate": "dislike", "unhappiness": "sadness"}
DROPPED = ("complex", "conditioned_emotional_response", "faintness", "glow", "sex", "soul", "state", "thing")
NEUTRAL = ("neutral", "emotionless", "expressionless", "impassive", "unemotional")  # no feeling, so in no branch


class Pointer(NamedTuple):
    symbol: str
    offset: str
    pos: str
    source: int  # which lemma it starts from, counted from 1; 0: the whole synset


class Synset(NamedTuple):
    lexname: str
    kind: str  # n, v, a, or s: an adjective that is a satellite of another
    lemmas: list[str]
    pointers: list[Pointer]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/wordnet")
    nouns, adjectives, verbs = (read(folder / f"data.{name}") for name in ("noun", "adj", "verb"))
    classes = noun_classes(nouns)
    indices = [index(folder / f"index.{name}") for name in ("noun", "adj", "verb")]
    groups = defaultdict(set)
    for word, name in words(classes, adjectives, verbs, *indices).items():
        groups[MERGED.get(name, name)].add(word.replace("_", " "))
    for name in DROPPED:
        groups.pop(name, None)
    groups["neutral"] = set(NEUTRAL)
    for name in list(groups):
        if name != "neutral":
            groups[name] -= groups["neutral"]
    notice = [line[2:].strip() for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines()[:29]]
    out = Path(__file__).resolve().parent.parent / "eval" / "wordnet_emotions.json"
    data = {
        "source": "WordNet 3.0, nouns below feeling; made by scripts/make_wordnet_emotions.py",
        "licence": " ".join(part.partition(" ")[2] if part[:1].isdigit() else part for part in notice).strip(),
        "merged": MERGED,
        "classes": {name: sorted(groups[name]) for name in sorted(groups)},
    }
    out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"{out.name}: {sum(map(len, groups.values()))} words in {len(groups)} classes")


def read(path: Path) -> dict[str, Synset]:
    """Synsets of a data file by offset."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("  "):
            part = line.partition("|")[0].split()
            count = int(part[3], 16)
            at = 4 + 2 * count
            rows = [part[k : k + 4] for k in range(at + 1, at + 1 + 4 * int(part[at]), 4)]
            pointers = [Pointer(symbol, offset, pos, int(ends[:2], 16)) for symbol, offset, pos, ends in rows]
            lemmas = [part[4 + 2 * i].partition("(")[0].lower() for i in range(count)]
            found[part[0]] = Synset(part[1], part[2], lemmas, pointers)
    return found


def noun_classes(nouns: dict[str, Synset]) -> dict[str, str]:
    """Offset to class of every noun synset below the spine."""
    spine = {o for o, s in nouns.items() if s.lemmas[0] in ROOT_LEMMAS and s.lexname in FEELING_LEXNAMES}
    classes: dict[str, str] = {}

    def below(offset: str, name: str) -> None:
        if offset not in classes and offset not in spine:
            classes[offset] = name
            for symbol, child, *_ in nouns[offset].pointers:
                if symbol == "~":
                    below(child, name)

    for top in sorted(spine):
        for symbol, child, *_ in nouns[top].pointers:
            if symbol == "~" and child not in spine:
                below(child, nouns[child].lemmas[0])
    return classes


def index(path: Path) -> dict[str, list[str]]:
    """The synsets of each word, the commonest sense first."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]
    return {part[0]: part[-int(part[2]) :] for part in rows}


def words(
    classes: dict[str, str],
    adjectives: dict[str, Synset],
    verbs: dict[str, Synset],
    noun_senses: dict[str, list[str]],
    adjective_senses: dict[str, list[str]],
    verb_senses: dict[str, list[str]],
) -> dict[str, str]:
    """Word to class, by the ways of the module's docstring in their order."""

    def derived(word: str, senses: list[str], synsets: dict[str, Synset], by: str = "+") -> str | None:
        for synset in (synsets[offset] for offset in senses):
            mine = synset.lemmas.index(word) + 1 if word in synset.lemmas else 0
            for pointer in synset.pointers:
                if pointer.symbol == by and pointer.source in (0, mine) and pointer.offset in classes:
                    return classes[pointer.offset]
        return None

    found: dict[str, str] = {}
    for word, senses in noun_senses.items():
        if hit := next((classes[offset] for offset in senses if offset in classes), None):
            found[word] = hit
    for word, senses in adjective_senses.items():
        stems = [word[:-1], word[:-2], f"{word[:-3]}y"] if word.endswith("ed") else []
        stem = next((each for each in stems if each in verb_senses), None)
        hit = derived(word, senses, adjectives) or (stem and derived(stem, verb_senses[stem], verbs))
        hit = hit or derived(word, senses[:1], adjectives, "=")
        if hit and (word not in found or senses[0] in adjectives):
            found[word] = hit
    near = {}
    for word, senses in adjective_senses.items():
        if word not in found:
            first = adjectives[senses[0]]
            heads = [p.offset for p in first.pointers if p.symbol == "&" and first.kind == "s"]
            lemmas = [lemma for head in heads for lemma in adjectives[head].lemmas]
            if hit := next((found[lemma] for lemma in lemmas if lemma in found), None):
                near[word] = hit
    return found | near


if __name__ == "__main__":
    main()
