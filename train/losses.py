# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The losses of stages 1 and 2 (equations 3 to 8) as pure functions, with what they need drawn beforehand.

    stage 1: L = info_nce + w1 * temporal_order_loss + w2 * masked_frame_loss      (eq. 7)
    stage 2: L = info_nce                                                          (eq. 8)

Every function takes tensors of one rank. Where `torch.distributed` is initialised, `info_nce` compares with the clips
and texts of all ranks: averaged over the ranks, as DDP averages, value and gradient are those of the whole batch.
"""

import hashlib
import math

import torch
import torch.distributed as dist
import torch.nn.functional as F

MAX_LOGIT_SCALE = math.log(100.0)  # CLIP's bound: a temperature of at least .01


def gather(rows: torch.Tensor) -> torch.Tensor:
    """(B, ...) of this rank -> (W * B, ...) of all W ranks in order; the gradient flows back to the rank it came from.

    B must be the same on every rank.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    if rows.requires_grad:
        return _Gather.apply(rows)
    return _gather(rows)


def _gather(rows: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums, over the ranks, the gradients that this rank's rows got from each of them."""

    @staticmethod
    def forward(ctx: object, rows: torch.Tensor) -> torch.Tensor:
        return _gather(rows)

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def info_nce(media: torch.Tensor, texts: torch.Tensor, logit_scale: torch.Tensor, *keys: torch.Tensor) -> torch.Tensor:
    """Equations 3 and 6: every clip must find its own text among all texts of the global batch, and the reverse.

    Args:
        media, texts: (B, E), any scale, row i of one belongs to row i of the other. Compared by cosine, in float32.
        logit_scale: (1,), ln(1 / temperature).
        keys: (B,) int64 each, such as `text_keys` of the captions, or of the clips: another row with an equal key is
            no negative. It is left out in both directions, since its text is as right as the row's own.

    Returns:
        The mean cross entropy of both directions over this rank's rows.
    """
    with torch.autocast(media.device.type, enabled=False):
        media, texts = (F.normalize(rows.float(), dim=-1) for rows in (media, texts))
        all_media, all_texts = gather(media), gather(texts)
        offset = 0 if len(all_media) == len(media) else dist.get_rank() * len(media)
        targets = offset + torch.arange(len(media), device=media.device)
        scale = logit_scale.float().exp()
        excluded = _false_negatives(targets, keys)
        losses = []
        for own, others in ((media, all_texts), (texts, all_media)):
            logits = scale * own @ others.T  # (B, W * B)
            if excluded is not None:
                logits = logits.masked_fill(excluded, -torch.inf)
            losses.append(F.cross_entropy(logits, targets))
        return (losses[0] + losses[1]) / 2


def _false_negatives(targets: torch.Tensor, keys: tuple[torch.Tensor, ...]) -> torch.Tensor | None:
    """(B, W * B) bool, True where another row has the same key."""
    excluded = None
    for key in keys:
        equal = key.unsqueeze(1) == gather(key)
        excluded = equal if excluded is None else excluded | equal
    return None if excluded is None else excluded.scatter(1, targets.unsqueeze(1), False)


def text_key(text: str) -> int:
    """63 bits that are the same for the same words, whatever their case and spaces, on every rank and in every run."""
    words = " ".join(text.casefold().split())
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1


def draw_orders(count: int, length: int, generator: torch.Generator) -> torch.Tensor:
    """(count, length) int64: for each clip a wrong order of its frames, never the right one (eq. 4).

    Raises:
        ValueError: fewer than two frames have no wrong order.
    """
    if length < 2:
        raise ValueError(f"{length} frame has no wrong order: set temporal_weight to 0")
    orders = torch.rand(count, length, generator=generator).argsort(dim=1)
    right = (orders == torch.arange(length)).all(dim=1, keepdim=True)
    return torch.where(right, orders.roll(1, dims=1), orders)


def check_mask_ratio(ratio: float) -> None:
    """Raises ValueError for a ratio outside (0, 1]."""
    if not 0 < ratio <= 1:
        raise ValueError(f"mask_ratio must be above 0 and at most 1, not {ratio}")


def draw_masks(count: int, length: int, ratio: float, generator: torch.Generator) -> torch.Tensor:
    """(count, length) bool: the same share `ratio` of every clip's frames, at least one, is masked (eq. 5).

    Raises:
        ValueError: a ratio outside (0, 1].
    """
    check_mask_ratio(ratio)
    masked = max(1, round(ratio * length))
    return torch.rand(count, length, generator=generator).argsort(dim=1) < masked


def temporal_order_loss(ordered: torch.Tensor, shuffled: torch.Tensor) -> torch.Tensor:
    """Equation 4: binary cross entropy of "the frames are in order", from the logits (B,) of clips as they are and of
    the same clips with their frames shuffled."""
    ordered, shuffled = ordered.float(), shuffled.float()
    return (F.softplus(-ordered).mean() + F.softplus(shuffled).mean()) / 2


def masked_frame_loss(reconstructed: torch.Tensor, target: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Equation 5: mean squared error at the masked frames alone.

    Args:
        reconstructed: (B, T, d_v). target: X_v (B, T, d_v), without position embedding. masked: (B, T) bool.
    """
    error = (reconstructed.float() - target.float()).square().mean(dim=-1)  # (B, T)
    weights = masked.to(error.dtype)
    return (error * weights).sum() / weights.sum()


def stage1_loss(parts: dict[str, torch.Tensor], temporal_weight: float, reconstruction_weight: float) -> torch.Tensor:
    """Equation 7 from its three parts; one of weight 0 need not be there."""
    weights = {"contrastive": 1.0, "temporal": temporal_weight, "reconstruction": reconstruction_weight}
    terms = [weight * parts[name] for name, weight in weights.items() if weight]
    return torch.stack(terms).sum()
