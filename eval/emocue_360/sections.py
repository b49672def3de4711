# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which sentence of an explanation speaks of the picture, which of the sound, which of both.

Explanations follow the manner of EMER: "In the video, ... In the audio, ... In the text, ... Therefore ...", or the
same in Chinese. So sentences (never cut inside a quotation) are read in order: an opener such as "In the audio" or
在音频中 starts a section; an inference ("It can be inferred", 因此) is a global cue wherever it stands, and so is the
tail of an observation from ", indicating that" on; text without sections is sorted by words that one modality alone
uses. No letter of the paragraph is lost and none appears twice.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from .cue_schema import MODALITIES

_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|e\.g|i\.e|[ap]\.m)|\b[A-Z])\.$")
# A quotation is stepped over whole, so its full stops end nothing; its last mark may end the sentence around it.
_STOP = re.compile(
    r'"[^"\n]{0,400}"|“[^”；\n]{0,400}”|「[^」；\n]{0,400}」'
    r'|[。！？；…]+[”」"\']?|[.!?]+["\')\]]?(?=\s|[A-Z]|$)|\n+'
)
_QUOTED_SENTENCE = re.compile(r'["“「].*[.!?。！？…]["”」]$')

_LEAD = (
    r"[\W\d_]*(?:\w+:\s*)?(?:(?:and|but|also|additionally|furthermore|moreover|meanwhile|however|then|finally"
    r"|similarly|at the same time|in addition|同时|此外|另外|而)[,，]?\s*)?"
)
_HEADING = r"(?:\s+(?:cues?|clues?|information|modality|channel|content|analysis|evidence|clip|track))*"
_FROM = r"(?:in|from|on|throughout|regarding|as for|in terms of|looking at|listening to)\s+(?:(?:the|this|its)\s+)?"


def _opener(nouns: str, adverb: str, chinese: str) -> re.Pattern[str]:
    """Matches a sentence that starts the section of `nouns`: "In the video", "Visual cues:", "Visually,", 在视频中."""
    return re.compile(
        rf"(?i){_LEAD}(?:{_FROM}(?:{nouns}){_HEADING}\b|(?:{nouns}){_HEADING}\W{{0,3}}[:：]|{adverb},"
        rf"|[在从](?:该|这段)?(?:{chinese})|(?:{chinese})(?:线索|信息|内容|方面)?[:：])"
    )


_SECTIONS = {
    "visual": _opener("video|visuals?|pictures?|images?|footage|frames?", "visually", "视频|画面|视觉|图像"),
    "audio": _opener("audio|sound(?:track)?|speech|vocals?|acoustics?", "acoustically", "音频|声音|语音|听觉"),
    "global": _opener("text|subtitles?|transcript|dialogue|global|conclusion", "overall", "文本|字幕|台词"),
}
# A conclusion holds until the next section opens; a remark is global by itself and leaves its section open.
_CONCLUSION = re.compile(
    rf"(?i){_LEAD}(?:(?:therefore|thus|hence|consequently|overall|to sum up|all in all|as a result|taken together"
    r"|in (?:short|summary|conclusion))\b|(?:based on|combining|combined with|considering|judging (?:from|by)|taking"
    r"|given)\b[^.]{0,80}\b(?:cl?ues?|visuals?|video|audio|text|subtitle|evidence|expressions?|tone)\b"
    r"|因此|所以|综上|综合|总之|总的来|总体|整体(?:上|而言|来看)|由此|结合|根据)"
)
_REMARK = re.compile(
    rf"(?i){_LEAD}(?:(?:this|these|that|those|it|such)\b(?:\s+\w+){{0,6}}?\s+(?:indicat|suggest|impl(?:y|ies)|convey"
    r"|reflect|mean|hint)|(?:it|we|one) can (?:\w+ )?(?:be )?(?:infer|specul|conclu|deduc)"
    r"|(?:the|this) (?:subtitle|sentence)\b|(?:我们)?可以?(?:推断|推测|看出|得出)|推断|推测|由于字幕|这句话|字幕"
    r"|这\S{0,6}?(?:表明|说明|暗示|意味着|反映))"
)
_TAIL = re.compile(
    r"(?i),\s*(?=(?:(?:possibly|perhaps|likely|thus|thereby|further|clearly|and|also|seemingly)\s+)*"
    r"(?:indicating|suggesting|implying|conveying|reflecting|expressing|signal+ing|hinting|showing that)\b"
    r"|(?:which|it|this|we|one)\s+(?:(?:may|might|could|can|also|further|often|be)\s+)*"
    r"(?:indicat|suggest|impl(?:y|ies)\b|convey|reflect|signal|infer))"
    r"|，(?=(?:这|并|也|进一步|通常|可能|似乎|往往|共同|我们)*(?:表明|说明|暗示|意味着|显示出(?!\S{0,3}笑)|表现出|体现|反映"
    r"|传达|表达|流露|因此|所以|从而|由此|推断|推测|可以?(?:看出|推断|推测)))"
)
# Words that one modality alone uses, for text without sections.
_AUDIO = re.compile(
    r"(?i)\b(?:voices?|tones?(?! of the (?:scene|picture|image|video))"
    r"|pitch|intonation|loud(?:ly|er)?|volume|tempo|speak(?:s|ing)|speech|sighs?|sobs?|whispers?"
    r"|shouts?|audible|pauses?)\b|声音|语气|语调|语速|音量|音调|哭腔|颤音|停顿"
)
_VISUAL = re.compile(
    r"(?i)\b(?:face|facial|eyes?|(?:eye)?brows?|mouth|lips?|gaze|look(?:s|ing) (?:at|down|up|away)|smil(?:es?|ing)"
    r"|frown(?:s|ing)?|head|hands?|arms?|posture|gestures?|nods?|cheeks?|jaw)\b|面部|表情|眉|眼|嘴|笑容|头|手势|目光"
)


class Sentence(NamedTuple):
    """Characters [start, end) of a text. inferred: it is itself a conclusion or a remark on what something means."""

    start: int
    end: int
    modality: str
    inferred: bool


def read_sentences(text: str, default: str | None = None) -> Iterator[Sentence]:
    """The sentences of a text with the modality that their section or their words give them.

    `default` is the modality of sentences before any section opens; None tells by their words.
    """
    section, concluding = default, False
    for start, end in _cut(text):
        sentence = text[start:end]
        opened = next((name for name, opener in _SECTIONS.items() if opener.match(sentence)), None)
        concludes = opened is None and bool(_CONCLUSION.match(sentence))
        if opened or concludes:
            section, concluding = opened or "global", concludes
        modality, remark = section, not opened and bool(_REMARK.match(sentence))
        if remark:
            modality = "global"
        yield Sentence(start, end, modality or modality_of(sentence) or "global", remark or concluding)


def modality_of(text: str) -> str | None:
    """Visual or audio, by the words that one of them alone uses; None where neither has more."""
    audible, visible = len(_AUDIO.findall(text)), len(_VISUAL.findall(text))
    return None if audible == visible else "audio" if audible > visible else "visual"


def split_tail(text: str) -> tuple[str, str]:
    """An observation and what is inferred from it, from ", indicating that" on; the comma belongs to neither."""
    tail = _TAIL.search(text)
    return (text[: tail.start()], text[tail.end() :]) if tail else (text, "")


def split_cues(text: str, default: str | None = None) -> dict[str, list[str]]:
    """Sort the sentences of an explanation into visual, audio and global ones, in reading order, for people to read.

    `default` is the modality of sentences before any section opens; None tells by their words.

    >>> split_cues("In the video, he frowns, suggesting doubt. In the audio, he sighs.")
    {'visual': ['In the video, he frowns'], 'audio': ['In the audio, he sighs.'], 'global': ['suggesting doubt.']}
    """
    cues: dict[str, list[str]] = {name: [] for name in MODALITIES}
    for sentence in read_sentences(text, default):
        piece = text[sentence.start : sentence.end]
        observed, inferred = (piece, "") if sentence.modality == "global" else split_tail(piece)
        for where, part in ((sentence.modality, observed), ("global", inferred)):
            if any(map(str.isalnum, part)):
                cues[where].append(part.strip(" \t；;"))
    return cues


def _cut(text: str) -> Iterator[tuple[int, int]]:
    """Sentences as [start, end), without the white space around them; no sentence ends inside a quotation."""
    start, seen, wordy = 0, 0, False
    for stop in _STOP.finditer(text):
        end, mark = stop.end(), stop.group()
        if mark[0] in '"“「' and len(mark) > 1:
            ends = bool(_QUOTED_SENTENCE.match(mark)) and not re.match(r"\s*[a-z,，、.。;；]", text[end : end + 8])
        else:
            ends = not _ABBREVIATION.search(text[max(start, end - 12) : end])
        wordy, seen = wordy or any(map(str.isalpha, text[seen:end])), end
        if ends and wordy:  # the number of a list item belongs to what follows it
            yield _trimmed(text, start, end)
            start, wordy = end, False
    yield _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
