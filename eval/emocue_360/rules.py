# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""rules-1: cues out of a text by rules, English and Chinese, offline and always the same.

Sentence by sentence (`sections`), a quotation becomes a cue of kind `subtitle`, and the rest is cut at commas and
semicolons into clauses. What opens a clause and says nothing about the clip ("In the audio,", "indicating that") is
stripped, because identical openings would match each other at 1. A clause is of its section's modality, or of the
other one if its words say so; what follows "indicating that" is global, and so is a feeling by itself. A cue is a
slice of the text, which its span names.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .cue_schema import Cue
from .polarity import is_negated
from .sections import modality_of, read_sentences, split_tail

NAME = "rules-1"
_QUOTATION = re.compile(r'"[^"\n]{1,400}"|“[^”\n]{1,400}”|「[^」\n]{1,400}」|『[^』\n]{1,400}』')
_COMMA = re.compile(
    r"\s*(?:[,;](?!\d)|[，；;])\s*|\s+(?=which (?:may|might|could|suggest|indicat|impl|convey|reflect|show))"
)
_HEDGE = (
    r"(?:(?:may|might|could|can|also|further|often|usually|generally|possibly|perhaps|likely|clearly|thus|thereby|all"
    r"|both|be|is|was|been|seem(?:s|ingly)?|to)\s+)*"
)
_SIGNS = (
    r"(?:indicat(?:es?|ed|ing)|suggest(?:s|ed|ing)?|impl(?:y|ies|ied|ying)|convey(?:s|ed|ing)?|reflect(?:s|ed|ing)?"
    r"|express(?:es|ed|ing)?|signal\w*|hint(?:s|ing)?(?: at)?|means?|show(?:s|n|ing)?|demonstrat(?:es?|ing)"
    r"|reveal(?:s|ing)?|infer(?:red)?|speculated?|concluded?|deduced?|supports?)\b"
)
_NOUN = r"(?:video|audio|text|subtitles?|screen|picture|footage|clip|scene|visual|sound)"
_CLUES = r"(?:cl?ues?|information|content|evidence)\b"
_ADVERBS = (
    "as well as|as time (?:goes|passes|went)(?: on| by)?|at the same time|as a result|on the other hand|in addition"
    "|in (?:summary|conclusion|short|particular)|to sum up|taken together|all in all|over time|for example|along with"
    "|and|but|while|so|then|also|as(?! (?:if|though)\\b)|or|yet|however|therefore|thus|hence|overall|additionally"
    "|furthermore|moreover"
    "|meanwhile|finally|similarly|later|afterwards?|subsequently|consequently|simultaneously|firstly?|next"
    "|specifically|accordingly|combined with"
)
_WHEN = (
    "beginning|start|end|middle|opening|following|subsequent|first|last|final|next|same|current|initial|whole|entire"
)
_CHINESE_HEDGE = (
    "(?:这|这些|这种|这句话|并|也|可能|进一步|通常|似乎|往往|都|从而|由此|我们|可以|共同|一般|因此|所以"
    r"|这[种一个][^，。]{1,6}){0,4}"
)
_CHINESE_SIGNS = "(?:表明|说明|暗示|意味着|显示出|体现|反映|传达|表达|表现出|流露|推断|推测|看出|得出)"
# Openings without content, each of which may follow another.
_SHELL = re.compile(
    rf"(?i)(?:[\W_]+|\d+[.)]\s+|(?:in|out)put\s*[:：]|(?:{_ADVERBS})\b"
    # "in the video", "at the beginning of the clip", "in the following scene"
    rf"|(?:in|from|on|throughout|during|at|towards?)\s+(?:the\s+)?(?:(?:very\s+)?(?:{_WHEN})\s+(?:of\s+)?)?(?:the\s+)?"
    rf"(?:{_NOUN}|frames?|scenes?)(?:\s+(?:{_CLUES}|frame|track))*(?=\s*(?:[,:]|$))"
    rf"|(?:at|in|towards?)\s+the\s+(?:very\s+)?(?:{_WHEN})\b(?:\s+of\s+(?:the\s+)?{_NOUN}\b)?(?=\s*(?:[,:]|$))"
    rf"|(?:the\s+)?{_NOUN}\s+(?:progress(?:es|ed)?|continues?|goes on|unfolds?)$"
    # "the screen shows", "we see", "it can be heard that"
    rf"|(?:the\s+)?(?:(?:{_WHEN})\s+)?{_NOUN}\s+(?:shows?|depicts?|displays?|opens with)\s+(?:that\s+)?"
    r"|(?:we|one|you)\s+(?:can\s+)?(?:see|hear|observe|notice|find)\s+(?:that\s+)?"
    r"|(?:it\s+)?can be (?:seen|heard|observed)\s+(?:that\s+)?"
    # "based on the video clues of"
    r"|(?:based on|combining|combined with|considering|taking|judging (?:from|by)|given|through)\s+"
    rf"(?:(?:the|these|this|all|above)\s+)*(?:(?:{_NOUN}|and|contextual)\s+)*(?:{_CLUES}(?:\s+into\s+\w+)?\s*"
    r"(?:(?:of|from|in|that|about|such as)\s+)?)?"
    rf"|(?:the\s+)?(?:{_NOUN}\s+(?:and\s+)?)+{_CLUES}\s+(?:of|that|from|such as)\s+"
    # "this change suggests that", "we can infer that", "possibly indicating that"
    rf"|(?:this|these|that|those|it|which|we|one|they|the\s+(?:subtitle|sentence|line|text)"
    rf"|(?:this|these|those|such)\s+(?:[\w'’-]+\s+){{1,6}}?)\s*{_HEDGE}{_SIGNS}\s+(?:that\s+)?"
    rf"|{_HEDGE}(?:indicating|suggesting|implying|conveying|reflecting|expressing|signal+ing|hinting(?: at)?|showing"
    rf"|meaning|demonstrating)\s+(?:that\s+)?|{_HEDGE}{_SIGNS}\s+that\s+"
    r"|(?:我们(?:可以|能)?|可以|能)(?:看到|听到|看见)(?=\S)|随着(?:时间|视频|画面)的?(?:推移|流逝|推进|进行|播放)"
    r"|而且|然而|但是?|与此同时|同时|此外|另外|因此|所以"
    r"|综上(?:所述)?|总之|总的来说|整体(?:上|而言|来看)?|以及"
    r"|在?(?:接近)?(?:开头|起始|中间|结尾|接下来|随后|最后|后续)的?(?:画面|部分|视频|场景)?(?:中|里)?(?:显示|是)?"
    r"|[在从](?:该|这段)?(?:视频|音频|文本|画面|字幕|语音|声音)(?:的)?(?:开头|开始|结尾|末尾|线索|内容|信息)?(?:中|里|来看|上)?"
    r"(?=[，,：:]|$)|(?:视频|画面|镜头)(?:中)?(?:显示|展示)了?"
    r"|(?:根据|结合|综合|基于)(?:这些|以上|上述)?(?:视频|音频|文本|字幕)?(?:[和与、]|以及)?(?:视频|音频|文本|字幕)?的?"
    r"(?:线索|信息|内容)?中?的?"
    rf"|{_CHINESE_HEDGE}{_CHINESE_SIGNS}[出了着]*|字幕(?:内容|显示|中说)?(?:[是为说：:])?)\s*"
)
_INFERENCE = re.compile(
    rf"(?i)\s*(?:(?:this|these|that|those|it|which|we|one)\b[^,]{{0,60}}?\b(?:{_SIGNS}|contributes?|(?:may|might|could)\b)"
    rf"\s|{_HEDGE}(?:indicating|suggesting|implying|conveying|reflecting|expressing|signal+ing|hinting|showing that"
    rf"|meaning)\b|{_CHINESE_HEDGE}{_CHINESE_SIGNS}(?!\S{{0,3}}笑)|因此|所以|从而)"
)
# What a clause about a feeling has in it; without words of sight or sound it is no observation.
_FEELING = re.compile(
    r"(?i)\b(?:emotion(?:s|al)?|moods?|feel(?:s|ing|ings)?|ang(?:er|ry)|happ(?:y|iness)|sad(?:ness)?|joy(?:ful)?|fear"
    r"|worr(?:y|ied)|anxi(?:ous|ety)|excite(?:d|ment)|surprised?|dissatisf\w+|frustrat\w+|disappoint\w+|nervous\w*"
    r"|concern(?:ed)?|disgust\w*|anticipation|delight\w*|grie(?:f|ving)|grateful|gratitude|upset|embarrass\w*|helpless\w*"
    r"|irritat\w*|annoy\w*|depress\w*|relieved?)\b|情绪|心情|感到|愤怒|生气|高兴|开心|快乐|悲伤|难过|害怕|恐惧|担忧|担心|焦虑|惊讶|不满|失望"
)
_NOTHING = re.compile(  # says only that nothing can be said, or nothing at all
    r"(?i)\b(?:(?:impossible|unable|difficult|hard) to|can(?:no|['’])t (?:be )?)\s*(?:accurately )?"
    r"(?:determin|judg|infer|provide|tell|obtain|perceiv)"
    r"|(?:无法|不能|难以|很难)(?:准确|直接)?(?:通过|根据)?\S{0,6}?(?:判断|确定|推断|推测|得知|获取|提供|辨别)"
    rf"|^(?:the\s+)?{_NOUN}s?(?:\s+{_CLUES})?$|^we (?:reach|come to)\b|^(?:总体而言|这?些?画面)$"
)
_HEDGING = re.compile(  # with nothing but openings beside it, it is no cue; before an observation it stays
    r"(?i)(?:(?:it|this|that)\s+(?:seem|appear|look|sound)(?:s|ed)?(?:\s+(?:so|like|likely|as if|as though|that))*"
    r"|it\s+(?:is|was|(?:may|might|could|can)\s+be)\s+(?:(?:likely|possible|probable|said|assumed)(?:\s+that)?|that)"
    r"|perhaps|maybe|possibly|probably|presumably|apparently|seemingly"
    r"|(?:I|we|one)\s+(?:(?:can|could|would|might)\s+)?(?:thinks?|believes?|guess|supposes?|assumes?)(?:\s+that)?)\b"
    r"|似乎|好像|仿佛|(?:看|听)起来|看上去|可能|也许|或许|大概|我们?(?:觉得|认为|猜测?)"
)
_LEAD_IN = re.compile(  # what introduces a quotation and is no cue without it
    r"(?i)(?:the\s+)?(?:subtitles?|text|sentence|line|dialogue|character|speaker|s?he|man|woman|person)?(?:\s+text)?\s*"
    r"(?:in the (?:text|subtitles?)\s*)?(?:contents?)?(?:\s*(?:says?|reads?|states?|said|shows?|is|are))*"
    r"(?:\s+as follows)?|字幕(?:内容|文本)?(?:是|为|说|显示)?"
)


# Readings with one rule less, for the study of how much a score depends on the extractor (Table III).
VARIANTS = {
    "all": "all rules",
    "sentences": "whole sentences, cut at what is inferred alone",
    "openings": "empty openings are left on",
    "sections": "the section alone decides the modality, not words",
    "words": "words alone decide the modality, not the section",
}


class RulesExtractor:
    """The rules as an extractor; `digest` changes with every change of them.

    Args:
        variant: one of `VARIANTS`.

    Raises:
        ValueError: no such variant.
    """

    def __init__(self, variant: str = "all") -> None:
        if variant not in VARIANTS:
            raise ValueError(f"no variant {variant!r}; there are {', '.join(VARIANTS)}")
        self.variant, self.name = variant, NAME if variant == "all" else f"{NAME}.{variant}"
        parts = [Path(__file__).with_name(f"{stem}.py").read_bytes() for stem in ("rules", "sections", "polarity")]
        self.digest = hashlib.sha256(b"".join(parts)).hexdigest()[:8]

    def extract(self, text: str) -> list[Cue]:
        """The cues of a text in reading order; none for a text without a word.

        >>> cues = RulesExtractor().extract("In the video, he frowns, suggesting doubt.")
        >>> [(cue.modality, cue.text) for cue in cues]
        [('visual', 'he frowns'), ('global', 'doubt')]
        """
        found: dict[tuple[str, str], Cue] = {}
        for cue in _cues(text, self.variant):
            found.setdefault((cue.modality, cue.text.casefold()), replace(cue, source=self.name))
        return list(found.values())


def _cues(text: str, variant: str) -> Iterator[Cue]:
    for sentence in read_sentences(text):
        quotations = [
            (quote.start(), quote.end()) for quote in _QUOTATION.finditer(text, sentence.start, sentence.end)
        ]
        clauses = []
        at = sentence.start
        for start, end in [*quotations, (sentence.end, sentence.end)]:
            if variant == "sentences":
                observed, inferred_text = split_tail(text[at:start])
                clauses += [(at, at + len(observed)), (start - len(inferred_text), start)]
            else:
                clauses += _clauses(text, at, start)
            if end > start:
                clauses.append((start, end))
            at = end
        inferring = sentence.inferred
        for start, end in clauses:
            if (start, end) in quotations:
                if any(map(str.isalnum, text[start:end])):
                    yield _cue(text, start + 1, end - 1, "audio", "subtitle")
                continue
            inferring = inferring or bool(_INFERENCE.match(text, start, end))
            start, end = _stripped(text, start, end, openings=variant != "openings")
            clause = text[start:end]
            words = _words(clause)
            if not words or _NOTHING.search(clause) or _only_hedges(clause):
                continue  # nothing is left
            if quotations and (_LEAD_IN.fullmatch(clause) or words < 3):
                continue  # a scrap between quotations
            modality = _modality(clause, "global" if inferring else sentence.modality, variant)
            inferred = inferring or (modality == "global" and sentence.modality != "global")
            yield _cue(text, start, end, modality, "inference" if inferred else "observation")


def _modality(clause: str, section: str, variant: str) -> str:
    if variant == "sections":
        return section
    if variant == "words":
        return modality_of(clause) or "global"
    if section == "global":
        return section
    return modality_of(clause) or ("global" if _FEELING.search(clause) else section)


def _cue(text: str, start: int, end: int, modality: str, kind: str) -> Cue:
    piece = text[start:end]
    return Cue(piece, modality, kind, -1 if is_negated(piece) else 1, (start, end))


def _clauses(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The text from start to end cut at commas; a lone word stays with the clause before it."""
    cuts = [(mark.start(), mark.end()) for mark in _COMMA.finditer(text, start, end)]
    edges = zip([start, *(after for _, after in cuts)], [*(before for before, _ in cuts), end], strict=True)
    clauses: list[tuple[int, int]] = []
    for a, b in edges:
        words = _words(text[slice(*_stripped(text, a, b))])
        if words > 1 or (words and (not clauses or _INFERENCE.match(text, a, b))):
            clauses.append((a, b))
        elif words:
            clauses[-1] = (clauses[-1][0], b)
    return clauses


def _words(text: str) -> float:
    """Number of words; two characters of Chinese count as one."""
    words = re.findall(r"[A-Za-z0-9'’-]+|[^\W\dA-Za-z_]", text)
    return sum(1 if word.isascii() else 0.5 for word in words)


def _only_hedges(clause: str) -> bool:
    """Whether a clause is only hedges and openings: "It seems that in the audio"."""
    at = 0
    while (part := _HEDGING.match(clause, at) or _SHELL.match(clause, at)) and part.end() > at:
        at = part.end()
    return at == len(clause)


def _stripped(text: str, start: int, end: int, openings: bool = True) -> tuple[int, int]:
    """Without empty openings, and without the marks around."""
    while openings and (shell := _SHELL.match(text, start, end)) and shell.end() > start:
        start = shell.end()
    while end > start and not (text[end - 1].isalnum() or text[end - 1] in ")）%"):
        end -= 1
    return start, end
