# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What a language model is asked for cues with: five wordings of one task (the study of Table III), and its answer.

No wording holds a sentence of any benchmark; the one example is invented.
"""

from typing import Literal

from .cue_schema import MODALITIES, Cue

try:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError
except ImportError:
    raise ImportError(
        'the extractor that asks a language model needs pydantic: pip install "xemogpt[eval]", or pip install pydantic'
    ) from None


__all__ = ["TEMPLATES", "Answer", "ValidationError", "messages"]


class CueAnswer(BaseModel):
    """One cue of an answer."""

    model_config = ConfigDict(extra="forbid")
    text: str
    kind: Literal["observation", "inference", "subtitle"]
    negated: bool


class Answer(BaseModel):
    """The cues of a text by modality."""

    model_config = ConfigDict(extra="forbid")
    visual: list[CueAnswer]
    audio: list[CueAnswer]
    global_: list[CueAnswer] = Field(alias="global")

    def cues(self, text: str, source: str) -> list[Cue]:
        """As cues, each with its place in `text` where it stands there word for word, without repetitions."""
        found: dict[tuple[str, str], Cue] = {}
        for modality in MODALITIES:
            for said in getattr(self, "global_" if modality == "global" else modality):
                words = said.text.strip()
                at = text.find(words)
                if not words:
                    continue
                cue = Cue(
                    words,
                    modality,
                    said.kind,
                    -1 if said.negated else 1,
                    (at, at + len(words)) if at >= 0 else None,
                    source,
                )
                found.setdefault((modality, words.casefold()), cue)
        return list(found.values())


_FORM = """\
Answer with one JSON object and nothing else: {"visual": [...], "audio": [...], "global": [...]}. Each item is \
{"text": "...", "kind": "observation" or "inference" or "subtitle", "negated": true or false}. A list may be empty."""

TEMPLATES = {
    "brief": "List the emotional cues in the description of a video clip: visual (what is seen), audio (how it "
    "sounds) and global (what is concluded from both). Copy short phrases from the description, in its language. "
    f"Quoted speech has the kind subtitle. {_FORM}",
    "definitions": """\
You take descriptions of emotion in video clips apart into atomic cues.
- visual: facial expressions, gaze, gestures, posture, actions, the scene.
- audio: tone, pitch, volume, pace, pauses, sounds; not the meaning of the words.
- global: conclusions about emotions, causes, intentions and relations.
- kind: observation for what can be perceived, inference for what is concluded, subtitle for words that are quoted.
- negated: true if the cue says that something is absent.
Use the words of the description, one fact a cue, no duplicates. """
    + _FORM,
    "steps": "Read the description of a video clip. First, find each phrase that states one fact. Second, drop "
    "phrases that only introduce others, such as 'in the video' or 'it can be seen that'. Third, decide for each fact "
    "whether one would have to see it (visual), to hear it (audio), or to think about it (global). Fourth, mark "
    "quotations of what is said as subtitle, conclusions as inference, the rest as observation, and what is denied as "
    f"negated. Keep the wording of the description. {_FORM}",
    "example": f"""\
Extract the visual, audio and global cues of the description of a video clip, in its own words. {_FORM}

Example description: In the video, a baker wipes flour from her cheek and does not look up. In the audio, she hums. \
She says "Almost done." She is content.
Example answer: {{"visual": [{{"text": "wipes flour from her cheek", "kind": "observation", "negated": false}}, \
{{"text": "does not look up", "kind": "observation", "negated": true}}], "audio": [{{"text": "she hums", "kind": \
"observation", "negated": false}}, {{"text": "Almost done.", "kind": "subtitle", "negated": false}}], "global": \
[{{"text": "She is content", "kind": "inference", "negated": false}}]}}""",
    "bilingual": "Extract emotional cues from the description of a clip. 请从视频片段的描述中提取情感线索。"
    "visual 视觉：表情、眼神、动作、姿态、场景；audio 听觉：语气、音调、音量、语速、停顿；"
    "global 整体：情绪、原因、意图的推断。每条线索只含一个事实，保持原文的语言和用词；"
    f"引用的台词 kind 为 subtitle，推断为 inference，其余为 observation；否定的线索 negated 为 true。 {_FORM}",
}


def messages(template: str, text: str) -> list[dict[str, str]]:
    """The question about a text."""
    return [
        {"role": "system", "content": TEMPLATES[template]},
        {"role": "user", "content": f"Description:\n{text}"},
    ]
