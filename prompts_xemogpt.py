# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Every text the model is asked with, in one place, each with an id that results record.

The id changes when a text changes: a number reported under `reason-en-1` was obtained with exactly that text.
"""

from dataclasses import dataclass

TASKS = ("reason", "visual", "audio", "recognise")
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Prompt:
    """One instruction: `id` names its exact text."""

    id: str
    text: str


PROMPTS: dict[tuple[str, str], Prompt] = {
    ("reason", "en"): Prompt(
        "reason-en-1",
        "Explain the emotional state of the person in this clip. Write one paragraph: 'In the video, ...' with what "
        "can be seen, then 'In the audio, ...' with what can be heard, and end with the emotion that all cues "
        "together imply.",
    ),
    ("visual", "en"): Prompt(
        "visual-en-1",
        "Look only at the video. Write one paragraph, 'In the video, ...', that names the face, gaze, head and body "
        "cues you see, and end with the emotion that these visual cues imply.",
    ),
    ("audio", "en"): Prompt(
        "audio-en-1",
        "Listen only to the audio. Write one paragraph, 'In the audio, ...', that names the cues you hear in the "
        "voice: pitch, loudness, rate, pauses, tone. End with the emotion that these audio cues imply.",
    ),
    ("recognise", "en"): Prompt(
        "recognise-en-1", "Which emotion does the person in this clip show? Answer with one word."
    ),
    ("reason", "zh"): Prompt(
        "reason-zh-1",
        "请解释片段中人物的情绪状态。写成一段话：先以“在视频中，……”写出看到的线索，再以“在音频中，……”写出听到的线索，"
        "最后写出所有线索共同说明的情绪。",
    ),
    ("visual", "zh"): Prompt(
        "visual-zh-1",
        "请只看视频。以“在视频中，……”写一段话，写出面部、目光、头部和身体上看到的线索，最后写出这些视觉线索说明的情绪。",
    ),
    ("audio", "zh"): Prompt(
        "audio-zh-1",
        "请只听音频。以“在音频中，……”写一段话，写出声音中听到的线索：音高、音量、语速、停顿、语气，"
        "最后写出这些听觉线索说明的情绪。",
    ),
    ("recognise", "zh"): Prompt("recognise-zh-1", "片段中的人物表现出哪种情绪？请只用一个词回答。"),
}


def get_prompt(task: str = "reason", language: str = "en") -> Prompt:
    """The instruction of a task: `reason` (both modalities), `visual`, `audio`, or `recognise` (one word)."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; choose one of {', '.join(TASKS)}")
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; choose one of {', '.join(LANGUAGES)}")
    return PROMPTS[task, language]


__all__ = ["LANGUAGES", "PROMPTS", "TASKS", "Prompt", "get_prompt"]
