# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What EmoCue-360 gives to descriptions that deserve nothing: negated, another clip's, stuffed with cues.

    python scripts/study_attacks.py --references emer_v2_reason.csv --honest emer_v1_eng.csv \
        --out results/emocue_360_attacks.json

Real annotations are the references; `honest` are other descriptions, by people, of some of the same clips, on which
alone they are scored. All cues are read by rules-1. The result holds numbers only, no text.
"""

import argparse
import json
import random
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SPAM = 30  # clips whose cues are heaped up
DIMENSIONS = ("visual", "audio", "global")
_VERB = re.compile(r"\b(is|are|was|were|has been|have been|can|may|might|could|should|does|do)\b(?! not)")

Cues = dict[str, list[dict[str, Any]]]


def negated(text: str) -> str:
    """The opposite of a cue."""
    return _VERB.sub(r"\1 not", text, count=1) if _VERB.search(text) else f"it is not true that {text}"


def union(parts: Sequence[Cues]) -> Cues:
    """All cues of several descriptions."""
    return {name: [cue for part in parts for cue in part[name]] for name in DIMENSIONS}


def attacks(references: Mapping[str, Cues], honest: Mapping[str, Cues], seed: int) -> dict[str, dict[str, Cues]]:
    """Descriptions by attack and id."""
    chance, names = random.Random(seed), list(references)
    others = {
        name: chance.sample([other for other in names if other != name], min(SPAM, len(names) - 1)) for name in names
    }
    flipped = {
        name: {key: [{"text": negated(cue["text"])} for cue in cues[key] if cue["kind"] != "subtitle"] for key in cues}
        for name, cues in references.items()
    }
    heap = {name: union([references[other] for other in others[name]]) for name in names}
    made = {
        "the reference itself": dict(references),
        "every reference cue negated": flipped,
        "another clip's reference": {name: references[others[name][0]] for name in names},
        f"cues of {SPAM} other clips": heap,
    }
    both = [name for name in names if name in honest]
    if len(both) > 1:
        made["a person's other description"] = {name: honest[name] for name in both}
        made[f"that, with cues of {SPAM} other clips"] = {name: union([honest[name], heap[name]]) for name in both}
        shifted = dict(zip(both, both[1:] + both[:1], strict=True))
        made["that, of another clip"] = {name: honest[shifted[name]] for name in both}
        made["another reference, on those clips"] = {name: made["another clip's reference"][name] for name in both}
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Score every attack by every preset and write the table."""
    from xemogpt.eval.cue_scores import Remembering
    from xemogpt.eval.emocue_360.rules import RulesExtractor
    from xemogpt.eval.emocue_360.scoring import score
    from xemogpt.eval.emocue_360.settings import PRESETS
    from xemogpt.eval.extraction import grouped
    from xemogpt.eval.records import read_records
    from xemogpt.eval.score import provenance

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--references", required=True, metavar="FILE", help="annotations with an id and a text")
    parser.add_argument("--honest", metavar="FILE", help="other descriptions of the same clips")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N clips alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)

    extractor = RulesExtractor()
    truth, said = (read_records(path) if path else {} for path in (args.references, args.honest))
    names = list(truth)[: args.limit]
    references, honest = (
        {name: grouped(extractor.extract(records[name].text or "")) for name in names if name in records}
        for records in (truth, said)
    )
    encoder, table = Remembering(), []
    for name, candidates in attacks(references, honest, args.seed).items():
        row: dict[str, Any] = {"attack": name, "clips": len(candidates)}
        asked = {each: references[each] for each in candidates}
        for preset in PRESETS:
            result = score(candidates, asked, preset=preset, encoder=encoder, derangements=0, bootstrap=0)
            row[preset] = {key: result[key] for key in (*DIMENSIONS, "mean", "mean_f1")}
        table.append(row)
        shown = "  ".join(f"{preset} {row[preset]['mean_f1']:.3f}" for preset in PRESETS)
        print(f"{name:42} {shown}", flush=True)
    about = {
        "what": "EmoCue-360 of descriptions that deserve nothing, with some that deserve more",
        "command": shlex.join(["python", "scripts/study_attacks.py", *map(_bare, argv or sys.argv[1:])]),
        "samples": len(names),
        "extractor": f"{extractor.name}@{extractor.digest}",
        "rows": table,
    }
    Path(args.out).write_text(json.dumps(about | provenance() | {"seed": args.seed}, indent=2) + "\n")
    return 0


def _bare(argument: str) -> str:
    """An argument without this machine's folders."""
    return Path(argument).name if Path(argument).is_absolute() else argument


if __name__ == "__main__":
    sys.exit(main())
