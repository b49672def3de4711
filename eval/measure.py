# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""One job of `xemogpt.eval.speed`, in a process of its own.

`python -m xemogpt.eval.measure JSON` does the job that the JSON describes and prints what came out, as JSON.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xemogpt.eval.limits import Limits, busy, peak_bytes, spread, timed

SEED = 0
CHECKED = 8  # tokens compared between ways of decoding
QWEN3 = {  # what differs between the two sizes
    "0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "4b": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32},
}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Does one job: `compose`, `load` or `run`."""
    if job["job"] == "compose":
        return {"folder": str(random_model(job["size"]))}
    started = time.perf_counter()
    import torch
    from transformers import AutoModelForMultimodalLM, AutoProcessor  # noqa: F401 - slow to import, and no loading

    imported = time.perf_counter()
    model = load_model(job)
    loaded = time.perf_counter()
    processor = AutoProcessor.from_pretrained(job["model"], trust_remote_code=True)
    done = time.perf_counter()
    if job["job"] == "run":
        torch.manual_seed(SEED)
        with torch.inference_mode():
            return Run(job, model, processor).measure()
    size = sum(file.stat().st_size for file in Path(job["model"]).glob("*.safetensors"))
    copied = Limits(job["device"], job["dtype"]).copy()
    return {
        "import_s": imported - started,
        "model_s": loaded - imported,
        "processor_s": done - loaded,
        "load_s": done - imported,
        "peak_bytes": peak_bytes(job["device"]),
        "bound": {"by": "copying the weights once", "bytes": size, "limit_s": round(size / copied, 4)},
    }


def load_model(job: dict[str, Any]) -> Any:
    """The model of a job, on its device, in its dtype."""
    from transformers import AutoModelForMultimodalLM

    from xemogpt.hub.compose import torch_dtype

    dtype = torch_dtype(job["dtype"])
    return AutoModelForMultimodalLM.from_pretrained(job["model"], dtype=dtype, trust_remote_code=True).to(
        job["device"]
    )


class Stamps:
    """A streamer that notes when each token came; `generate` first hands it the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


class Run:
    """Everything that is measured of a loaded model at one batch size and one way of decoding."""

    def __init__(self, job: dict[str, Any], model: Any, processor: Any):
        self.job, self.model, self.processor = job, model, processor
        self.device, self.repeats = job["device"], job["repeats"]
        self.inputs: Any = None
        self.features: dict[str, Any] = {}

    def measure(self) -> dict[str, Any]:
        """Media, first token and its parts, decoding, peak; each with what bounds it."""
        model, job, load_average = self.model, self.job, busy()
        if job["decode"] == "int8":
            from xemogpt.inference.int8 import to_int8

            to_int8(model)
        limits = Limits(self.device, job["dtype"])
        before = limits.all()
        media = [timed(self.prepare, "cpu") for _ in range(1 + self.repeats)]
        self.inputs = self.inputs.to(model.device)
        calls = self.parts()
        for name, medium in (("vision", "video"), ("audio", "audio")):
            if name in calls:
                self.features[medium] = calls[name]()
        parts = {name: spread(self.times(call)) for name, call in calls.items()}
        settings = decode_settings(job["decode"])
        started = time.perf_counter()
        answer = self.logits(**settings)  # the first use, so that compilation is not counted
        warm_up_s = time.perf_counter() - started
        answers = [self.generate(job["new_tokens"], self.inputs, **settings) for _ in range(self.repeats)]
        peak = peak_bytes(self.device)
        flop = self.count(calls)  # now that the peak is known: plain attention takes more memory
        first = [times[1] - times[0] for _, times in answers]
        steps = [(times[-1] - times[1]) / (len(times) - 2) for _, times in answers]
        whole = [times[-1] - times[0] for _, times in answers]
        after = limits.all()
        best = {name: max(before[name], after[name]) for name in before}
        batch, prompt = self.inputs["input_ids"].shape
        step_bytes = self.step_bytes(prompt)
        held = sum(each.nbytes for each in [*model.parameters(), *model.buffers()])
        result: dict[str, Any] = {
            "decode": job["decode"],
            "batch": batch,
            "prompt_tokens": prompt,
            "load_average": [load_average, busy()],
            "limits": {name: round(value) for name, value in best.items()},
            "media_s": {"cold": round(media[0], 4), "warm": spread(media[1:])},
            "first_token_s": spread(first),
            "first_token_parts_s": parts,
            "decode_warm_up_s": round(warm_up_s, 2),
            "tokens_per_s": _rates(batch, steps),
            "samples_per_s": _rates(batch, whole),
            "peak_bytes": peak,
            "check": self.check(self.reference(), answer),
        }
        bounds = {
            name: _bound(
                "matrix products", parts[name]["min"], flop[name] / best["matmul_flop_per_s"], flop=flop[name]
            )
            for name in parts
        }
        bounds["first_token"] = _bound(
            "matrix products", min(first), sum(flop.values()) / best["matmul_flop_per_s"], flop=sum(flop.values())
        )
        bounds["decode_step"] = _bound(
            "reading weights and cache", min(steps), step_bytes / best["read_bytes_per_s"], bytes=step_bytes
        )
        bounds["media"] = _bound("decoding every frame of the file", min(media[1:]), batch * self.frames_s())
        bounds["peak"] = {"by": "the weights", "bytes": held, "share": round(held / peak, 3)}
        return {**result, "bounds": bounds}

    def prepare(self) -> None:
        """Reads the clip, once for each row of the batch, and writes the prompts."""
        messages = [
            self.processor.conversation(self.job["clip"], subtitle=self.job["subtitle"])
            for _ in range(self.job.get("batch", 1))
        ]
        self.inputs = self.processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )

    def frames_s(self) -> float:
        """Seconds to decode all frames of the clip and nothing else: the best of three."""
        import av

        def decode() -> None:
            with av.open(self.job["clip"]) as container:
                container.streams.video[0].thread_type = "AUTO"
                for _ in container.decode(video=0):
                    pass

        return min(timed(decode, "cpu") for _ in range(3))

    def media(self, *prefixes: str) -> dict[str, Any]:
        return {name: value for name, value in self.inputs.items() if name.startswith(prefixes)}

    def parts(self) -> dict[str, Callable[[], Any]]:
        """What the first token costs, as calls: each tower with its bridge and projector, and the LLM's prefill."""
        tokens = self.media("input_ids", "attention_mask")
        parts: dict[str, Callable[[], Any]] = {}
        if video := self.media("pixel_values"):
            parts["vision"] = lambda: self.model.get_video_features(**video)
        if audio := self.media("input_values", "input_features"):
            parts["audio"] = lambda: self.model.model.encode_audio(**audio)
        parts["prefill"] = lambda: self.model(
            **tokens, mm_encoder_outputs=self.features, use_cache=True, logits_to_keep=1
        )
        return parts

    def count(self, parts: dict[str, Callable[[], Any]]) -> dict[str, int]:
        """Floating-point operations of each part, by running it.

        Attention runs as plain products, which the counter can see.
        """
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        flop = {}
        for name, part in parts.items():
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
                part()
            flop[name] = counter.get_total_flops()
        return flop

    def times(self, function: Callable[[], Any]) -> list[float]:
        return [timed(function, self.device) for _ in range(self.repeats)]

    def generate(self, new_tokens: int, inputs: Any, **settings: Any) -> tuple[Any, list[float]]:
        """Exactly `new_tokens` greedy tokens, and when: the start, then each token."""
        stamps, started = Stamps(), time.perf_counter()
        output = self.model.generate(
            **inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, streamer=stamps, **settings
        )
        return output, [started, *stamps.times[1:]]

    def reference(self) -> tuple[Any, Any]:
        """`logits` of the unchanged model, decoding eagerly; loaded again where it was changed, so after the peak."""
        if self.job["decode"] == "int8":
            self.model = load_model(self.job)
        return self.logits()

    def logits(self, **settings: Any) -> tuple[Any, Any]:
        """The first tokens (CHECKED, B) and the logits they were taken from (CHECKED, B, vocabulary)."""
        import torch

        inputs = {**self.media("input_ids", "attention_mask"), "mm_encoder_outputs": self.features}
        output, _ = self.generate(CHECKED, inputs, output_logits=True, return_dict_in_generate=True, **settings)
        return output.sequences[:, -CHECKED:].T.cpu(), torch.stack(output.logits).float().cpu()

    def check(self, reference: tuple[Any, Any], answer: tuple[Any, Any]) -> dict[str, Any]:
        """Compares with the unchanged model decoding eagerly, as far as a row's tokens are the same up to there."""
        equal = reference[0] == answer[0]
        same_prefix = equal.int().cumprod(0).roll(1, 0).bool()
        same_prefix[0] = True
        difference = (reference[1] - answer[1]).abs().amax(-1)[same_prefix]
        return {
            "tokens": equal.numel(),
            "equal_tokens": int(equal.sum()),
            "largest_logit_difference": round(float(difference.max()), 4),
            "logit_std": round(float(reference[1].std()), 4),
        }

    def step_bytes(self, prompt: int) -> int:
        """Bytes that one decoding step has to read: the LLM, its head, and the cache of a prompt of that length."""
        model, text = self.model, self.model.config.text_config
        modules = [model.lm_head, *model.model.language_model.layers]
        weights = sum(each.nbytes for module in modules for each in [*module.parameters(), *module.buffers()])
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        cache = 2 * text.num_hidden_layers * text.num_key_value_heads * width * prompt * model.dtype.itemsize
        return weights + cache * self.inputs["input_ids"].shape[0]


def decode_settings(decode: str) -> dict[str, Any]:
    """Arguments of `generate`: all but `eager` use a static cache; `compile` needs leave to compile on the CPU."""
    if decode == "eager":
        return {}
    if decode != "compile":
        return {"cache_implementation": "static", "disable_compile": True}
    from transformers import CompileConfig

    config = CompileConfig(fullgraph=True)
    config._compile_all_devices = True  # the library compiles on accelerators only, unless told
    return {"cache_implementation": "static", "compile_config": config}


def _rates(batch: int, seconds: Sequence[float]) -> dict[str, float]:
    return {"max": round(batch / min(seconds), 4), "median": round(batch / statistics.median(seconds), 4)}


def _bound(by: str, seconds: float, limit: float, **amount: int) -> dict[str, Any]:
    """What bounds a figure, the seconds it would take at that limit, and the share of the limit that was reached."""
    return {"by": by, **amount, "limit_s": round(limit, 5), "share": round(limit / seconds, 3)}


def random_model(size: str) -> Path:
    """The folder of an XEmoGPT with random bfloat16 weights: CLIP ViT-L/14, HuBERT-large and a Qwen3 of `size`.

    Its tokenizer is a byte-level one trained on the prompts, so that they are about as long as with Qwen3's own.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Wav2Vec2FeatureExtractor

    from xemogpt.configuration_xemogpt import XEmoGPTConfig
    from xemogpt.hub.compose import compose
    from xemogpt.hub.tiny import home
    from xemogpt.processing_xemogpt import CHAT_TEMPLATE
    from xemogpt.prompts_xemogpt import PROMPTS
    from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

    folder = home() / f"speed-random-{size}"
    if (folder / "README.md").is_file():  # written last
        return folder
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([prompt.text for prompt in PROMPTS.values()] + [CHAT_TEMPLATE], trainer)
    full = XEmoGPTConfig()
    shape = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960}
    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(SEED)
    return compose(
        full.vision_config,
        full.audio_config,
        Qwen3Config(**QWEN3[size], **shape, **ids, tie_word_embeddings=True),
        folder,
        dtype=torch.bfloat16,
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
        ),
        image_processor=XEmoGPTVideoProcessor(),
        feature_extractor=Wav2Vec2FeatureExtractor(),
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(json.loads(sys.argv[1]))) + "\n")
