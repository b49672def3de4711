# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Equations 3 to 8 against numbers worked out by hand, and two processes against one."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xemogpt.train.losses import (
    draw_masks,
    draw_orders,
    info_nce,
    masked_frame_loss,
    stage1_loss,
    temporal_order_loss,
    text_key,
)

ONE = torch.zeros(())  # ln of a scale of 1


def test_info_nce_by_hand() -> None:
    media = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    texts = torch.tensor([[5.0, 0.0], [3.0, 4.0]])
    # Cosines: [[1, .6], [0, .8]]; rows are clips -> texts, columns texts -> clips.
    rows = [math.log(math.e / (math.e + math.exp(0.6))), math.log(math.exp(0.8) / (1 + math.exp(0.8)))]
    columns = [math.log(math.e / (math.e + 1)), math.log(math.exp(0.8) / (math.exp(0.6) + math.exp(0.8)))]
    expected = -(sum(rows) / 2 + sum(columns) / 2) / 2
    assert info_nce(media, texts, ONE).item() == pytest.approx(expected, rel=1e-6)
    hotter = info_nce(media, texts, torch.tensor(math.log(100.0)))
    assert hotter.item() == pytest.approx(-(0 + 0 + 0 + math.log(1 / (1 + math.exp(-20)))) / 4, abs=1e-6)


def test_info_nce_leaves_duplicate_captions_out_in_both_directions() -> None:
    torch.manual_seed(0)
    media, texts = torch.randn(3, 4), torch.randn(3, 4)
    texts[1] = texts[0]
    keys = torch.tensor([7, 7, 9])
    cosine = torch.nn.functional.normalize(media, dim=-1) @ torch.nn.functional.normalize(texts, dim=-1).T
    expected = 0.0
    for logits in (cosine, cosine.T):
        for row, allowed in enumerate(([0, 2], [1, 2], [0, 1, 2])):
            expected -= (logits[row, row] - logits[row, allowed].logsumexp(0)).item() / 6
    assert info_nce(media, texts, ONE, keys).item() == pytest.approx(expected, rel=1e-5)
    assert info_nce(media, texts, ONE).item() > expected
    # Two texts of one clip: neither is a negative of the other's row.
    clips = torch.tensor([1, 2, 2])
    assert info_nce(media, texts, ONE, keys, clips).item() < expected


def test_a_batch_of_one_caption_alone_has_nothing_to_learn_and_no_nan() -> None:
    media = torch.randn(4, 3, requires_grad=True)
    loss = info_nce(media, torch.randn(4, 3), ONE, torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(media.grad, torch.zeros(4, 3))


def test_info_nce_stays_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    media, texts, scale = torch.randn(8, 16), torch.randn(8, 16), torch.tensor(4.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = info_nce(media, texts, scale)
    assert torch.equal(mixed, info_nce(media, texts, scale))


def test_text_keys_know_the_same_words() -> None:
    assert text_key("She  frowns.\n") == text_key("she frowns.")
    assert text_key("She frowns.") != text_key("She smiles.")
    assert -(2**63) <= text_key("她皱眉") < 2**63


def test_orders_are_wrong_permutations_and_vary() -> None:
    orders = draw_orders(500, 3, torch.Generator().manual_seed(0))
    assert torch.equal(orders.sort(dim=1).values, torch.arange(3).expand(500, 3))
    assert not (orders == torch.arange(3)).all(dim=1).any()
    assert len(orders.unique(dim=0)) == 5  # all six but the right one
    assert torch.equal(draw_orders(500, 3, torch.Generator().manual_seed(0)), orders)
    with pytest.raises(ValueError, match="1 frame has no wrong order"):
        draw_orders(2, 1, torch.Generator())


@pytest.mark.parametrize(("ratio", "count"), [(0.5, 8), (0.01, 1), (1.0, 16)])
def test_masks_hide_the_same_share_of_every_clip(ratio: float, count: int) -> None:
    masks = draw_masks(40, 16, ratio, torch.Generator().manual_seed(0))
    assert masks.sum(dim=1).tolist() == [count] * 40
    assert count == 16 or len(masks.unique(dim=0)) > 5


def test_a_mask_ratio_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1, not 0"):
        draw_masks(1, 4, 0, torch.Generator())


def test_temporal_order_loss_by_hand() -> None:
    ordered, shuffled = torch.tensor([0.0, 2.0]), torch.tensor([1.0, -3.0])
    terms = [math.log(2), math.log(1 + math.exp(-2)), math.log(1 + math.e), math.log(1 + math.exp(-3))]
    assert temporal_order_loss(ordered, shuffled).item() == pytest.approx(sum(terms) / 4, rel=1e-6)
    both = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.cat([ordered, shuffled]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    )
    assert temporal_order_loss(ordered, shuffled).item() == pytest.approx(both.item(), rel=1e-6)


def test_masked_frame_loss_sees_masked_frames_alone() -> None:
    target = torch.zeros(1, 3, 2)
    reconstructed = torch.tensor([[[1.0, 3.0], [100.0, 100.0], [2.0, 0.0]]])
    masked = torch.tensor([[True, False, True]])
    assert masked_frame_loss(reconstructed, target, masked).item() == pytest.approx(((1 + 9) / 2 + 4 / 2) / 2)


def test_stage1_loss_weighs_its_parts() -> None:
    parts = {name: torch.tensor(value) for name, value in (("contrastive", 1.0), ("temporal", 2.0))}
    assert stage1_loss(parts, 0.5, 0.0).item() == pytest.approx(2.0)
    with pytest.raises(KeyError):
        stage1_loss(parts, 0.5, 0.1)


PROGRAM = """
import sys, torch, torch.distributed as dist
from xemogpt.train.losses import info_nce
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
media, texts = (torch.nn.Linear(6, 4) for _ in range(2))
scale = torch.nn.Parameter(torch.tensor(1.5))
inputs = torch.randn(8, 6)
keys = torch.tensor([0, 1, 2, 1, 3, 4, 0, 5])
own = slice(rank * 8 // world, (rank + 1) * 8 // world)
loss = info_nce(media(inputs[own]), texts(inputs[own].flip(1)), scale, keys[own])
loss.backward()
gradients = [p.grad for p in [*media.parameters(), *texts.parameters(), scale]]
for each in [loss.detach(), *gradients]:
    dist.all_reduce(each)
    each /= world  # as DDP averages
if rank == 0:
    torch.save([loss.detach(), *gradients], sys.argv[1])
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    results = []
    for count in (1, 2):
        out = tmp_path / f"{count}.pt"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        done = subprocess.run(
            [*command, str(tmp_path / "program.py"), str(out)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(torch.load(out, weights_only=True))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-7)
