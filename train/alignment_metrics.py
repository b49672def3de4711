# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How well clips and cue texts find each other: retrieval, temporal accuracy, zero-shot recognition (UAR, WAR)."""

import numpy as np


def retrieval(media: np.ndarray, texts: np.ndarray, keys: np.ndarray) -> dict[str, float]:
    """Recall at 1 and 5, both ways, over a whole validation set.

    Args:
        media, texts: (N, E); row i of one belongs to row i of the other. keys: (N,), equal for equal texts: such count
            as one text, which any of its clips answers.

    Returns:
        `media_to_text_r1`, `media_to_text_r5`, `text_to_media_r1`, `text_to_media_r5` in [0, 1]. A tie counts against.
    """
    _, first, own = np.unique(keys, return_index=True, return_inverse=True)
    media, texts = _unit(media), _unit(texts[first])
    similarity = media @ texts.T  # (N, U)
    right = similarity[np.arange(len(media)), own]
    to_text = (similarity >= right[:, None]).sum(axis=1) - 1  # how many texts come before the clip's own
    best = np.full(len(texts), -np.inf)
    np.maximum.at(best, own, right)
    others = np.where(own[:, None] == np.arange(len(texts)), -np.inf, similarity)
    to_media = (others >= best).sum(axis=0)
    ranks = {"media_to_text": to_text, "text_to_media": to_media}
    return {f"{name}_r{k}": float((rank < k).mean()) for name, rank in ranks.items() for k in (1, 5)}


def recognition(media: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Zero-shot recognition: each clip gets the class whose prompt is closest.

    Args:
        media: (N, E). classes: (C, E), the prompts. labels: (N,), -1 where there is none.

    Returns:
        `uar`, the mean recall of the classes present, and `war`, the share of clips that are right; nothing where no
        clip has a label.
    """
    known = labels >= 0
    if not known.any():
        return {}
    predicted = (_unit(media[known]) @ _unit(classes).T).argmax(axis=1)
    right = predicted == labels[known]
    recalls = [right[labels[known] == each].mean() for each in np.unique(labels[known])]
    return {"uar": float(np.mean(recalls)), "war": float(right.mean())}


def temporal_accuracy(ordered: np.ndarray, shuffled: np.ndarray) -> dict[str, float]:
    """Share of right answers to "are the frames in order?", asked once of each clip as it is and once shuffled."""
    return {"temporal_accuracy": float(((ordered > 0).mean() + (shuffled <= 0).mean()) / 2)}


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
