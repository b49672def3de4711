# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What an explainer does when the model fails: on one clip of a batch, on all, or with its device lost."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from xemogpt.inference.clips import Clip
from xemogpt.inference.explain import explain, load_explainer
from xemogpt.inference.explainer import Explainer
from xemogpt.inference.explanation import Decoding, Explanation, Question, Rejection

SHORT = {"max_new_tokens": 12}


@pytest.fixture
def failing(hubert: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception, int], Explainer]:
    """An explainer whose model fails with an error wherever the batch holds a prompt of the given length."""

    def make(error: Exception, length: int) -> Explainer:
        explainer = Explainer(hubert)
        generate = explainer.model.generate

        def picky(**inputs: Any) -> Any:
            if (inputs["attention_mask"].sum(-1) == length).any():
                raise error
            return generate(**inputs)

        monkeypatch.setattr(explainer.model, "generate", picky)
        return explainer

    return make


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), RuntimeError("no\nmemory")])
def test_failure_in_a_batch_is_pinned_on_its_clip(
    hubert: Path, clips: list[Path], failing: Callable[[Exception, int], Explainer], error: Exception
) -> None:
    lengths = [load_explainer(hubert).prepare(Clip(clip), Question())["input_ids"].shape[1] for clip in clips]
    assert lengths.count(lengths[1]) == 1
    explainer = failing(error, lengths[1])
    outcomes = list(explainer.explain_each([Clip(clip) for clip in clips], decoding=Decoding(12), batch_size=5))
    assert [type(outcome) for outcome in outcomes] == [Explanation, Rejection, Explanation, Explanation, Explanation]
    assert outcomes[1].reason == f"{type(error).__name__}: no memory"  # type: ignore[union-attr]
    assert outcomes[4].text == explain(clips[4], model=hubert, **SHORT).text  # type: ignore[union-attr]


def test_model_that_answers_nothing_ends_the_run(
    hubert: Path, clips: list[Path], failing: Callable[[Exception, int], Explainer]
) -> None:
    """An error of the model must not become a rejection of every clip; too little memory may be one clip's fault."""
    length = load_explainer(hubert).prepare(Clip(clips[1]), Question())["input_ids"].shape[1]
    todo = [Clip(clips[1]), Clip(clips[0])]
    with pytest.raises(RuntimeError, match="broken"):
        list(failing(RuntimeError("broken"), length).explain_each(todo, decoding=Decoding(12), batch_size=1))
    outcomes = failing(torch.OutOfMemoryError("no"), length).explain_each(todo, decoding=Decoding(12), batch_size=1)
    assert [type(outcome) for outcome in outcomes] == [Rejection, Explanation]
    outcomes = failing(RuntimeError("broken"), length).explain_each(todo[::-1], decoding=Decoding(12), batch_size=1)
    assert [type(outcome) for outcome in outcomes] == [Explanation, Rejection]


def test_an_error_holds_no_memory_of_its_batch(
    hubert: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = Explainer(hubert)
    held: list[Any] = []

    def full(**inputs: Any) -> Any:
        cache = torch.zeros(8)
        held.append(weakref.ref(cache))
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(explainer.model, "generate", full)
    inputs = [explainer.prepare(Clip(clip), Question()) for clip in clips[:2]]
    errors = explainer.generate_each(inputs, Decoding(2))
    assert [type(error) for error in errors] == 2 * [torch.OutOfMemoryError]
    assert len(held) == 3
    assert not [each for each in held if each() is not None]
    assert all(error.__traceback__ for error in errors if isinstance(error, Exception))


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this torch has no such error")
def test_lost_device_ends_the_run(
    hubert: Path, clips: list[Path], failing: Callable[[Exception, int], Explainer]
) -> None:
    length = load_explainer(hubert).prepare(Clip(clips[0]), Question())["input_ids"].shape[1]
    with pytest.raises(RuntimeError, match="device lost"):
        list(failing(torch.AcceleratorError("device lost"), length).explain_each([Clip(clip) for clip in clips]))
