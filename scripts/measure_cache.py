# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 1 in samples a second: from the feature cache, and with the towers in the step, beside what bounds each.

    python scripts/measure_cache.py --out results/stage1_cpu.json
    python scripts/measure_cache.py --device cuda --batch 512 --steps 200 --clips 20000 --live-batch 32 --out out.json

Random weights at the paper's sizes (CLIP ViT-L/14, two layers, sixteen frames); the cache holds random features, since
speed does not depend on what they say. Parts are measured alone (reading batches, the step on a batch that is there,
decoding, the tower), then the whole run of the Trainer.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, TrainingArguments

from xemogpt.alignment_xemogpt import XEmoGPTVideoCueConfig, XEmoGPTVideoCueEncoder
from xemogpt.eval.limits import Limits, busy, timed
from xemogpt.eval.speed import commit, machine
from xemogpt.media_xemogpt import load_video
from xemogpt.train.alignment_data import AlignmentCollator, Pair, PairDataset
from xemogpt.train.alignment_model import VideoAlignment
from xemogpt.train.alignment_trainer import AlignmentTrainer
from xemogpt.train.feature_cache import FeatureCache, Item
from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

ROOT = Path(__file__).resolve().parent.parent
SEED = 0
Row = tuple[str, Item, torch.Tensor | None]  # of a cache: key, item, features


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="clips of a step from the cache")
    parser.add_argument("--steps", type=int, default=4, metavar="N")
    parser.add_argument("--clips", type=int, default=4096, metavar="N", help="clips in the cache, 32 kB each")
    parser.add_argument("--live-batch", type=int, default=2, metavar="N", help="clips of a step with the tower in it")
    parser.add_argument("--live-steps", type=int, default=2, metavar="N")
    parser.add_argument("--clip", default=str(ROOT / "examples" / "portrait.mp4"), metavar="FILE")
    parser.add_argument("--out", default="stage1_speed.json", metavar="FILE")
    return parser


class Bench:
    """One encoder, and the runs that are measured on it."""

    def __init__(self, args: argparse.Namespace, folder: Path):
        self.args, self.folder = args, folder
        torch.manual_seed(SEED)
        text = CLIPTextConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=1, projection_dim=768)
        self.encoder = XEmoGPTVideoCueEncoder(XEmoGPTVideoCueConfig(text_config=text)).eval()
        self.encoder.vision_tower.to(torch.bfloat16).to(args.device)
        self.processor = XEmoGPTVideoProcessor()
        settings = {"tower": "random", "width": 1024, "dtype": "bfloat16"}
        self.cache = FeatureCache(folder / "video", settings)
        self.texts = FeatureCache(folder / "texts", {"tower": "random", "width": 768, "dtype": "float32"})

    def pairs(self, count: int) -> list[Pair]:
        return [Pair(f"clip{number}", str(self.args.clip), f"caption {number}") for number in range(count)]

    def fill(self) -> None:
        """Random features in shards of 1024 clips."""
        pairs = self.pairs(self.args.clips)
        for start in range(0, len(pairs), 1024):
            part = pairs[start : start + 1024]
            clips: list[Row] = [(pair.id, Item(pair.id), torch.randn(16, 1024)) for pair in part]
            self.cache.write(clips)
            captions: list[Row] = [(id, item, torch.randn(1, 768)) for id, item, _ in clips]
            self.texts.write(captions)

    def dataset(self, count: int, live: bool) -> PairDataset:
        dataset = PairDataset(self.pairs(count), self.texts, [], None if live else self.cache, read=self.read)
        dataset.text_places = [pair.id for pair in dataset.pairs]
        dataset.places = [] if live else [pair.id for pair in dataset.pairs]
        return dataset

    def read(self, path: str, index: int, epoch: int) -> Any:
        return load_video(path, 16).frames

    def trainer(self, count: int, batch: int, steps: int, live: bool) -> AlignmentTrainer:
        training = TrainingArguments(
            str(self.folder / "out"),
            per_device_train_batch_size=batch,
            max_steps=steps,
            bf16=True,
            use_cpu=self.args.device == "cpu",
            report_to="none",
            save_strategy="no",
            logging_steps=max(1, steps),
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_drop_last=True,
            seed=SEED,
        )
        return AlignmentTrainer(
            model=VideoAlignment(self.encoder.video_bridge, self.encoder.video_cue_head),
            encoder=self.encoder,
            temporal_weight=1.0,
            reconstruction_weight=1.0,
            args=training,
            train_dataset=self.dataset(count, live),
            data_collator=AlignmentCollator("video", lambda videos: self.processor(videos)),
        )

    def whole(self, batch: int, steps: int, live: bool) -> float:
        """Samples a second of the Trainer, the first two steps not counted."""
        runs = []
        for count in (2, 2 + steps):
            trainer = self.trainer(batch * (2 + steps) if live else self.args.clips, batch, count, live)
            runs.append(timed(trainer.train, self.args.device))
        return batch * steps / (runs[1] - runs[0])

    def step(self, batch: int, repeats: int) -> tuple[float, int]:
        """Seconds of one step on a batch that is on the device, and its floating-point operations."""
        trainer = self.trainer(self.args.clips, batch, 1, live=False)
        model = trainer.model.to(self.args.device).train()
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def step() -> None:
            with torch.autocast(self.args.device, dtype=torch.bfloat16):
                trainer.compute_loss(model, inputs).backward()
            optimizer.step()
            optimizer.zero_grad()

        with FlopCounterMode(display=False) as counter:
            step()
        return min(timed(step, self.args.device) for _ in range(repeats)), counter.get_total_flops()

    def reading(self, batch: int) -> float:
        """Samples a second of the loader alone."""
        loader = self.trainer(self.args.clips, batch, 1, live=False).get_train_dataloader()
        started, count = time.perf_counter(), 0
        for rows in loader:
            count += len(rows["features"])
        return count / (time.perf_counter() - started)

    def tower(self, batch: int) -> float:
        """Seconds of the tower on a batch of clips that is on the device."""
        pixels = torch.zeros(batch, 16, 3, 224, 224, dtype=torch.bfloat16, device=self.args.device)
        return min(timed(lambda: self.encoder.get_tower_features(pixels), self.args.device) for _ in range(2))

    def decoding(self) -> float:
        """Seconds of decoding and resizing one clip."""
        return min(timed(lambda: self.processor([self.read(self.args.clip, 0, 0)]), "cpu") for _ in range(4))


def main() -> None:
    args = parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, Path(scratch))
        bench.fill()
        started = busy()
        flop_per_s = Limits(args.device, "bfloat16").matmul()
        step, flop = bench.step(args.batch, 3)
        reading, tower, decoding = bench.reading(args.batch), bench.tower(args.live_batch), bench.decoding()
        cached = bench.whole(args.batch, args.steps, live=False)
        live = bench.whole(args.live_batch, args.live_steps, live=True)
        flop_per_s = max(flop_per_s, Limits(args.device, "bfloat16").matmul())
    bound = args.batch / step
    result = {
        "command": " ".join(["python", "scripts/measure_cache.py", *sys.argv[1:]]),
        "machine": machine(),
        "load_average": [started, busy()],
        "versions": {"python": platform.python_version(), **{n: version(n) for n in ("torch", "transformers", "av")}},
        **commit(),
        "seed": SEED,
        "settings": {name: value for name, value in vars(args).items() if name not in ("out", "clip")}
        | {"clip": Path(args.clip).name, "threads": torch.get_num_threads()},
        "matmul_flop_per_s": round(flop_per_s),
        "cached": {
            "samples_per_s": round(cached, 2),
            "reading_samples_per_s": round(reading, 1),
            "step_samples_per_s": round(bound, 2),
            "bound": "the step itself" if bound < reading else "reading",
            "share_of_bound": round(cached / min(bound, reading), 3),
            "step_flop_per_sample": round(flop / args.batch),
            "step_share_of_matmul": round(flop / step / flop_per_s, 3),
        },
        "live": {
            "samples_per_s": round(live, 3),
            "tower_samples_per_s": round(args.live_batch / tower, 3),
            "decoding_samples_per_s": round(1 / decoding, 2),
            "bound": "the tower" if tower / args.live_batch > decoding else "decoding",
            "share_of_bound": round(live * max(tower / args.live_batch, decoding), 3),
        },
        "cached_over_live": round(cached / live, 1),
    }
    Path(args.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
