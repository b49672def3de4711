# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Reading known cues back out of text, in the corpus's words and in others, and the exact scores made of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from xemogpt.cli import main
from xemogpt.data.synth.clip import Clip
from xemogpt.data.synth.cue_types import AUDIO, EMOTIONS, VISUAL
from xemogpt.data.synth.exact import exact_cues, names_emotion, says_conflict
from xemogpt.data.synth.phrasing import (
    EMOTION_NOUNS,
    EMOTION_WORDS,
    denial,
    parse_emotions,
    phrase,
    phrases,
    read_cues,
)
from xemogpt.data.synth.plan import draw_plan
from xemogpt.data.synth.voice import RATE, Speech

V, A = "In the video, ", "In the audio, "


def f1(pairs: list[tuple[dict[str, int], dict[str, int]]]) -> float:
    hits = sum(len(found.items() & known.items()) for found, known in pairs)
    return 2 * hits / sum(len(found) + len(known) for found, known in pairs)


@pytest.mark.parametrize("held_out", [False, True])
def test_phrasings_and_denials_are_read_exactly(held_out: bool) -> None:
    rng = np.random.default_rng(0)
    for cue in phrases():
        for _ in range(10):
            clauses = (
                (phrase(cue, rng, "she", "her", float(rng.uniform(0.5, 1)), held_out), 1),
                (denial(cue, rng, "the man", held_out), -1),
            )
            for clause, polarity in clauses:
                assert read_cues(f"{V if cue in VISUAL else A}{clause}.") == {cue: polarity}, clause


@pytest.mark.parametrize("split", ["train", "test_phrasing", "test_conflict"])
def test_paragraphs_are_read_exactly(split: str) -> None:
    plans = [plan for plan in (draw_plan(1, index) for index in range(400)) if plan.split == split]
    for plan in plans[:20]:
        clip = Clip(plan)
        spans = dict.fromkeys(("speech", "end", "stress", "opening"), (1.0, 3.0))
        clip.__dict__["speech"] = Speech(np.zeros(4 * RATE), spans)
        text, _ = clip.explanation
        assert read_cues(text) == {cue.type: cue.polarity for cue in clip.story.cues}
        assert set(parse_emotions(text.rpartition('"')[2])) >= {plan.label}


@pytest.mark.parametrize(("which", "least"), [("a", 0.99), ("b", 0.97)])
def test_words_of_others_are_read(which: str, least: float) -> None:
    lines = (Path(__file__).parent / "synth_paraphrases.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs = []
    for cue, group, sentence in (line.split(" ", 2) for line in lines):
        if group == which:
            pairs.append((read_cues(f"{V if cue in VISUAL else A}{sentence[0].lower()}{sentence[1:]}"), {cue: 1}))
    assert {cue for _, known in pairs for cue in known} == {*VISUAL, *AUDIO}
    assert f1(pairs) >= least


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (V + "he does not smile.", {"smile": -1}),
        (V + "she frowns and does not smile.", {"brows_lowered": 1, "smile": -1}),
        (V + "he does not smile and frowns.", {"smile": -1, "brows_lowered": 1}),
        (V + "she frowns without blinking.", {"brows_lowered": 1, "rapid_blinking": -1}),
        (V + "there is neither a smile nor a frown.", {"smile": -1, "brows_lowered": -1}),
        (V + "her eyes are not closed.", {"eyes_closed": -1}),
        (V + "no tears are visible, but his lips tremble.", {"tears": -1, "lips_tremble": 1}),
        (V + "a smile cannot be seen.", {"smile": -1}),
        (V + "his mouth does not open wide.", {"jaw_dropped": -1}),
        (V + "he not only smiles, he also nods.", {"smile": 1, "head_nod": 1}),
        (V + "without doubt she is smiling.", {"smile": 1}),
        (V + "there is no smile. Later he smiles.", {"smile": 1}),
        (A + "sobs are missing.", {"sobs": -1}),
        (A + "she never shouts and speaks slowly.", {"loud_voice": -1, "slow_speech": 1}),
        (A + "his voice does not tremble.", {"tremor": -1}),
        # what is no observation, or of the other modality
        ('In the video, he nods. In the text, the subtitle reads "I am smiling and crying."', {"head_nod": 1}),
        (V + "she smiles, suggesting that she was close to tears.", {"smile": 1}),
        (A + "there is laughter. Therefore, he smiles inside.", {"laughter": 1}),
        (V + "his voice is loud.", {}),
        (A + "he smiles.", {}),
        (V + "the room is bright and a dog barks.", {}),
        ("", {}),
    ],
)
def test_negations_and_what_is_not_to_be_read(text: str, expected: dict[str, int]) -> None:
    assert read_cues(text) == expected


def test_text_without_sections_takes_the_modality_it_is_told() -> None:
    assert read_cues("A tremble is there.") == {}
    assert read_cues("A sigh precedes it.", "audio") == {"sigh": 1}


def test_every_emotion_word_is_read_as_its_own() -> None:
    for emotion in EMOTIONS:
        for word in (*EMOTION_WORDS[emotion], *EMOTION_NOUNS[emotion]):
            assert parse_emotions(f"The speaker's state is one of {word}.") == [emotion]
    assert names_emotion("He seems furious rather than sad.", "angry")
    assert not names_emotion("He seems furious rather than sad.", "sad")


def test_conflict_is_read() -> None:
    assert says_conflict("Overall, there is a conflict between the modalities.")
    assert says_conflict("The face and the voice do not match.")
    assert not says_conflict('She says "we had a conflict" and smiles.')


# ---------------------------------------------------------------------------------------------------- scores


def test_scores_by_hand() -> None:
    truth = [{"smile": 1, "sigh": 1, "tears": -1}, {"head_nod": 1, "pauses": 1}]
    said = [V + "she smiles, she cries, and she nods. In the audio, she does not sigh.", {"head_nod": 1, "pauses": 1}]
    scores = exact_cues(said, truth)
    # visual: shown smile | head_nod; said smile, head_nod | head_nod ("cries" is a sound and no visual cue)
    assert scores["visual"]["precision"] == pytest.approx(2 / 3)
    assert scores["visual"]["recall"] == 1
    assert scores["visual"]["f1"] == pytest.approx(0.8)
    assert scores["visual"]["hallucination"] == pytest.approx(1 / 3)
    assert scores["audio"]["precision"] == 1
    assert scores["audio"]["recall"] == 0.5
    assert scores["audio"]["wrong_denials"] == 0.5
    assert scores["all"]["f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert scores["all"]["floor"] == pytest.approx(2 * 1 / (4 + 4))  # at the other clip only the nod is right
    assert scores["samples"] == [{"hits": 1, "said": 2, "shown": 2}, {"hits": 2, "said": 2, "shown": 2}]
    assert scores["types"]["sigh"] == {"shown": 1, "said": 0, "hits": 0}


def test_nothing_said_is_scored_as_nothing_and_what_cannot_be_scored_is_refused() -> None:
    silent = exact_cues([""], [{"smile": 1}])
    assert silent["all"]["recall"] == 0
    assert silent["all"]["precision"] is None
    assert silent["all"]["f1"] == 0
    assert silent["all"]["floor"] is None
    assert exact_cues([""], [{}])["all"]["f1"] is None
    with pytest.raises(ValueError, match="one answer for each clip"):
        exact_cues(["a"], [])
    with pytest.raises(ValueError, match="unknown cue type 'wink'"):
        exact_cues([{"wink": 1}], [{}])


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    cue = {"type": "smile", "modality": "visual", "polarity": 1}
    rest = {"face": "happy", "voice": "sad", "label": "happy", "subset": "video-aligned"}
    truth, answers = tmp_path / "truth.jsonl", tmp_path / "answers.jsonl"
    truth.write_text("".join(json.dumps({"id": name, "cues": [cue], **rest}) + "\n" for name in "ab"))
    answers.write_text("".join(json.dumps({"id": name, "text": V + "she smiles."}) + "\n" for name in "ab"))
    return SimpleNamespace(truth=truth, answers=answers)


def test_command_scores_answers(files: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth-score", str(files.answers), "--truth", str(files.truth)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["clips"] == 2
    assert scores["all"]["f1"] == 1


def test_command_refuses_answers_that_do_not_fit(files: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["synth-score", str(files.answers), "--truth", str(files.truth)]
    files.answers.write_text('{"id": "a", "text": "she smiles"}\n')
    assert main(command) == 2
    assert "1 clip without an answer: b" in capsys.readouterr().err
    row = '{"id": "a", "text": "she smiles"}\n'
    for rows, message in (
        (row + row, "line 2: 'a' was answered before"),
        (row.replace('"a"', '"c"'), "'c' is no clip"),
    ):
        files.answers.write_text(rows)
        assert main(command) == 2
        assert message in capsys.readouterr().err
    files.answers.write_text('{"id": "a"}\n')
    assert main(command) == 2
    assert "answers.jsonl, line 1" in capsys.readouterr().err
    files.truth.write_text("{}\n")
    assert main(command) == 2
    assert "truth.jsonl, line 1" in capsys.readouterr().err
