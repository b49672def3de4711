# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-Synth: its plans, splits and words, its sound and its faces."""

import re
import shutil
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from xemogpt.data.cues import split_cues
from xemogpt.data.sample import Cue
from xemogpt.data.synth.clip import Clip, Motion, make_clip
from xemogpt.data.synth.corpus import sample_of
from xemogpt.data.synth.cue_types import AUDIO, EMOTIONS, VISUAL
from xemogpt.data.synth.figure import Figure, draw_person
from xemogpt.data.synth.paragraph import compose
from xemogpt.data.synth.phrasing import EMOTION_NOUNS, denial, phrase, phrases
from xemogpt.data.synth.plan import SPLITS, Plan, draw_plan, held_out_pairs
from xemogpt.data.synth.render import Pose, Scene, Stage, backdrop, pose_of
from xemogpt.data.synth.voice import RATE, Speech, Voice, speak, track_pitch, voice_names
from xemogpt.inputs_xemogpt import sample_indices

CLIPS = 1200
needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs the program espeak-ng, which speaks")


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [draw_plan(0, index) for index in range(CLIPS)]


def silent(plan: Plan) -> Clip:
    """A clip whose words can be had without its sound; they need only the times."""
    clip = Clip(plan, 64)
    clip.__dict__["speech"] = Speech(
        np.zeros(4 * RATE, np.float32), dict.fromkeys(("speech", "end", "stress", "opening"), (1.0, 3.0))
    )
    return clip


@pytest.fixture(scope="module")
def told(plans: list[Plan]) -> list[tuple[Clip, str, tuple[Cue, ...]]]:
    return [(clip := silent(plan), *clip.explanation) for plan in plans[:400]]


# ---------------------------------------------------------------------------------------------------- cues and splits


def test_cue_types_are_many_and_all_of_them_occur(plans: list[Plan]) -> None:
    assert len(VISUAL) >= 30
    assert len(AUDIO) >= 15
    assert not VISUAL.keys() & AUDIO.keys()
    assert {cue for weights in EMOTIONS.values() for cue in weights} == {*VISUAL, *AUDIO}
    train = [plan for plan in plans if plan.split == "train"]
    assert {shown.type for plan in train for shown in (*plan.visual, *plan.audio)} == {*VISUAL, *AUDIO}


def test_cues_of_a_clip_never_need_the_same_part(plans: list[Plan]) -> None:
    for plan in plans:
        for shown, needs in ((plan.visual, VISUAL), (plan.audio, AUDIO)):
            parts = [part for cue in shown for part in _parts(needs[cue.type])]
            assert len(parts) == len(set(parts)), plan.id
            assert not set(parts) & {p for name in plan.denied if name in needs for p in _parts(needs[name])}


def _parts(kind: object) -> list[str]:
    return str(getattr(kind, "regions", None) or getattr(kind, "aspects", "")).split()


def test_a_plan_hangs_on_seed_and_index_alone() -> None:
    assert draw_plan(3, 17) == draw_plan(3, 17)
    assert draw_plan(3, 17) != draw_plan(4, 17)
    assert draw_plan(3, 17) != draw_plan(3, 37)


def test_splits_hold_out_what_they_are_named_for_and_nothing_else(plans: list[Plan]) -> None:
    by_split = {split: [plan for plan in plans if plan.split == split] for split in SPLITS}
    assert [len(by_split[split]) * 20 // CLIPS for split in SPLITS] == [14, 1, 1, 1, 1, 1, 1]

    def pairs(plan: Plan) -> set[tuple[str, str]]:
        return set(combinations(sorted(shown.type for shown in (*plan.visual, *plan.audio)), 2))

    def conflict(plan: Plan) -> set[tuple[str, str]]:
        return {(plan.face_emotion, plan.voice_emotion)} if plan.face_emotion != plan.voice_emotion else set()

    held_out = {
        "test_identity": lambda plan: {plan.person_key},
        "test_voice": lambda plan: {plan.voice.name},
        "test_phrasing": lambda plan: {plan.sentence},
        "test_conflict": conflict,
    }
    for split, facts in held_out.items():
        seen = {fact for plan in by_split["train"] for fact in facts(plan)}
        for other in SPLITS:
            shared = [bool(facts(plan) & seen) for plan in by_split[other]]
            assert not any(shared) if other == split else any(shared), (split, other)
    seen_pairs = {pair for plan in by_split["train"] for pair in pairs(plan)}
    for plan in plans:
        new = held_out_pairs([shown.type for shown in (*plan.visual, *plan.audio)])
        assert bool(new) == (plan.split == "test_combination")
        assert not set(new) & seen_pairs


def test_conflict_split_has_a_third_of_each_kind(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    subsets = [clip.story.subset for clip, _, _ in told if clip.plan.split == "test_conflict"]
    assert len(subsets) == 20
    assert sorted(subsets.count(kind) for kind in ("video-aligned", "audio-aligned", "consistent")) == [6, 7, 7]


# ---------------------------------------------------------------------------------------------------- words


def test_phrasings_held_out_are_not_in_training() -> None:
    for cue, known in phrases().items():
        assert len(known.training) >= 3, cue
        assert len(known.held_out) >= 2, cue
        assert known.nouns, cue
        assert not set(known.training) & set(known.held_out)


def test_explanations_differ_and_say_where_each_cue_stands(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    texts = [text for _, text, _ in told]
    assert len(set(texts)) == len(texts)
    for clip, text, cues in told:
        assert all(cue.text == text[slice(*cue.span)] for cue in cues if cue.span), clip.plan.id
        observed = [cue for cue in cues if cue.kind == "observation"]
        assert sorted((cue.modality, cue.polarity) for cue in observed) == sorted(
            (cue.modality, cue.polarity) for cue in clip.story.cues
        )
        assert all(cue.time and 0 <= cue.time[0] < cue.time[1] <= clip.seconds for cue in observed if cue.polarity > 0)
        assert not any(mark in text for mark in "{}()|")
        assert "  " not in text


def test_of_an_empty_picture_and_of_silence_nothing_is_told(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    lacking = {"visual": 0, "audio": 0}
    for clip, text, cues in told:
        sections = split_cues(re.sub('"[^"]*"', '""', text))
        for modality, emotion in (("visual", clip.story.face), ("audio", clip.story.voice)):
            absent = re.search("nobody|no one(?!-)|there is no voice", " ".join(sections[modality]), re.I)
            assert bool(absent) == (not emotion), text
            if not emotion:
                lacking[modality] += 1
                assert clip.plan.split in ("train", "validation")
                assert clip.story.subset == "consistent"
                assert not [cue for cue in cues if cue.modality == modality], text
                assert len(sections[modality]) == 1, text
    assert all(6 < count < 30 for count in lacking.values())


@needs_espeak
def test_nobody_is_in_the_picture_or_speaks_where_the_plan_has_no_emotion(plans: list[Plan]) -> None:
    empty = Clip(next(plan for plan in plans if not plan.face_emotion), 64)
    first, last = empty.frames(np.array([0, empty.count - 1])).astype(int)
    grain = empty.plan.noise
    assert abs(first - last).mean() < 2 * grain + 1
    assert abs(first - 255 * backdrop(empty.plan.scene.background, 64)).mean() < grain + 1
    silent = Clip(next(plan for plan in plans if not plan.voice_emotion), 64)
    spoken = Clip(replace(silent.plan, voice_emotion="neutral"), 64)
    assert len(silent.speech.sound) == len(spoken.speech.sound)
    assert abs(silent.speech.sound).max() < 0.01 < abs(spoken.speech.sound).max()
    assert not Motion(silent.plan, silent.speech, silent.count, np.random.default_rng(0)).jaw.any()


def test_one_word_says_whether_another_observation_follows(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    """Two to a sentence; "Also" or "In addition" as the opener had it, else "So", with the emotion of the medium."""
    for clip, text, cues in told:
        for modality, emotion in (("visual", clip.story.face), ("audio", clip.story.voice)):
            own = [cue for cue in cues if cue.modality == modality]
            if not emotion:
                continue
            shown = [cue for cue in own if cue.kind == "observation" and cue.polarity > 0]
            inferred = own[len(shown)]
            assert inferred.kind == "inference", text
            assert all(cue.polarity < 0 for cue in own[len(shown) + 1 :]), text
            assert inferred.text.startswith("So "), text
            assert inferred.text.endswith(EMOTION_NOUNS[emotion][0]), text
            between = [text[a.span[1] : b.span[0]] for a, b in pairwise([*shown, inferred]) if a.span and b.span]
            assert set(between[:-1:2]) <= {", and ", ", while "}, text
            assert set(between[1:-1:2]) in (set(), {". Also, "}, {". In addition, "}), text
            assert between[-1:] in ([], [". "]), text


def test_cues_are_told_in_one_order(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    for clip, text, _ in told:
        jumbled = replace(clip.story, cues=clip.story.cues[::-1])
        assert compose(jumbled, np.random.default_rng(0)) == compose(clip.story, np.random.default_rng(0)), text


def test_conflicts_are_said_by_the_nouns_of_face_and_voice(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    for clip, text, _ in told:
        said = [part for part in text.split(". ") if re.search("disagree|conflict|contradict|do not match", part)]
        assert len(said) == (clip.story.subset != "consistent"), text
        for each in said:
            assert EMOTION_NOUNS[clip.story.face][0] in each, text
            assert EMOTION_NOUNS[clip.story.voice][0] in each, text


def test_without_a_subtitle_no_words_are_told_of(told: list[tuple[Clip, str, tuple[Cue, ...]]]) -> None:
    told_of = re.compile(r'"|\b(?:text|words themselves|what is said|sentence suggests|wording|side with)\b', re.I)
    unread = {"consistent": 0, "conflict": 0}
    for clip, text, cues in told:
        subtitled = bool(sample_of(clip).subtitle)
        assert subtitled == any(cue.kind == "subtitle" for cue in cues) == bool(told_of.search(text)), text
        if not subtitled:
            assert clip.plan.split != "test_conflict"
            unread["consistent" if clip.story.subset == "consistent" else "conflict"] += 1
    assert 0.06 < sum(unread.values()) / len(told) < 0.14
    assert all(unread.values())


def test_every_template_expands_to_plain_words() -> None:
    rng = np.random.default_rng(0)
    for cue in phrases():
        for held_out in (False, True):
            for _ in range(20):
                for clause in (
                    phrase(cue, rng, "she", "her", rng.uniform(0.5, 1), held_out),
                    denial(cue, rng, "she", held_out),
                ):
                    assert clause == " ".join(clause.split()), cue
                    assert not set(clause) & set("{}()|"), (cue, clause)


# ---------------------------------------------------------------------------------------------------- sound


@pytest.fixture(scope="module")
def say() -> object:
    voice = Voice("en-us+m3", 50, 170, 0.0)
    return lambda **settings: speak("We left the box near the window.", voice, settings, 0, 3)


def pitch_of(speech: Speech) -> np.ndarray:
    begin, end = (int(moment * RATE) for moment in speech.spans["speech"])
    pitch, strength = track_pitch(speech.sound[begin:end])
    return pitch[strength > 0.6]


@needs_espeak
def test_voice_does_what_is_asked(say) -> None:  # type: ignore[no-untyped-def]
    plain = say()
    assert np.array_equal(plain.sound, say().sound)
    assert 12 * np.log2(np.median(pitch_of(say(pitch=7.0))) / np.median(pitch_of(plain))) == pytest.approx(7, abs=1)
    assert _spread(pitch_of(say(range=-1.0))) < 0.2 * _spread(pitch_of(plain))

    def length(speech: Speech) -> float:
        return speech.spans["speech"][1] - speech.spans["speech"][0]

    assert length(say(rate=0.65)) < 0.75 * length(plain)
    assert length(say(rate=-0.42)) > 1.4 * length(plain)
    assert np.std(say(effort=1.0).sound) > 1.7 * np.std(plain.sound) > 4 * np.std(say(effort=-1.0).sound)
    assert len(pitch_of(say(whisper=1.0))) < 0.3 * len(pitch_of(plain))
    for opening in ("sigh", "gasp", "sob", "laugh"):
        begin, end = say(**{opening: 1.0}).spans["opening"]
        assert 0.3 < end - begin < 3
    assert "opening" not in plain.spans


@needs_espeak
def test_every_voice_has_the_pitch_that_is_usual_for_its_sex() -> None:
    """So that a high or low pitch is heard by who does not know the speaker: the least cue moves it by four
    semitones, speakers differ by 1.2."""
    for male, usual in ((True, 118.0), (False, 205.0)):
        for name in voice_names(male)[::9]:
            voice = Voice(name, 50, 170, 1.0)
            assert voice.hertz == pytest.approx(usual * 2 ** (1 / 12))
            middle = float(np.median(pitch_of(speak("We left the box near the window.", voice, {}, 0))))
            assert abs(12 * np.log2(middle / voice.hertz)) < 2, name


@needs_espeak
def test_spans_of_audio_cues_lie_where_they_are_heard() -> None:
    clip = next(clip for clip in (make_clip(0, index, 64) for index in range(200)) if _has(clip, "laughter"))
    (begin, end) = next(cue.time for cue in clip.story.cues if cue.type == "laughter")
    inside = clip.speech.sound[int(begin * RATE) : int(end * RATE)]
    assert inside.std() > 5 * clip.speech.sound[: int(begin * RATE)].std()
    assert end <= clip.speech.spans["speech"][0]


def _has(clip: Clip, cue: str) -> bool:
    return any(shown.type == cue for shown in clip.plan.audio)


def _spread(pitch: np.ndarray) -> float:
    return float(np.subtract(*np.percentile(pitch, [80, 20])))


# ---------------------------------------------------------------------------------------------------- faces


def test_actions_are_linear_and_rest_is_rest() -> None:
    figure = Figure(draw_person(np.random.default_rng(1)))
    rest = figure.pose({})
    assert np.allclose(rest, figure.vertices, atol=1e-6)
    half, whole = (figure.pose({"jawOpen": value}) - rest for value in (0.5, 1.0))
    assert np.abs(whole).max() > 0.1
    assert np.allclose(2 * half, whole, atol=1e-5)


def test_every_visual_cue_is_seen() -> None:
    stage = Stage(Figure(draw_person(np.random.default_rng(2))), Scene(), 64)
    still = stage.picture(Pose({})).astype(int)
    assert np.array_equal(still, stage.picture(Pose({})))
    for cue, kind in VISUAL.items():
        change = np.abs(stage.picture(pose_of(kind, 1.0)) - still)
        assert np.percentile(change[10:60, 10:54], 99.5) > 15, cue
    stage.close()


def test_a_cue_has_onset_apex_and_offset() -> None:
    candidates = (draw_plan(0, index) for index in range(200))
    plan = next(plan for plan in candidates if any(s.type == "brows_raised" for s in plan.visual))
    shown = replace(next(s for s in plan.visual if s.type == "brows_raised"), span=(0.2, 0.8))
    motion = Motion(
        replace(plan, visual=(shown,), audio=()), Speech(np.zeros(4 * RATE, np.float32)), 100, np.random.default_rng(0)
    )
    raised = np.array([motion.pose(index).actions.get("browOuterUpLeft", 0.0) for index in range(100)])
    assert raised[:20].max() == 0
    assert raised[81:].max() == 0
    assert raised[27:73].min() == pytest.approx(shown.intensity * VISUAL["brows_raised"].still["browOuterUpLeft"])
    assert 0 < raised[22] < raised[24] < raised[40]


@needs_espeak
def test_fast_path_renders_the_frames_that_a_model_samples() -> None:
    clip = make_clip(0, 7, 32)
    assert np.array_equal(clip.sampled(16), clip.frames()[sample_indices(clip.count, 16)])
