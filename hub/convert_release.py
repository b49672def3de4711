# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Converts a checkpoint of the authors' release (a plain `.ckpt` state dict) to a model folder.

    xemogpt convert-release --checkpoint xemogpt.ckpt --clip openai/clip-vit-large-patch14 \
        --hubert TencentGameMate/chinese-hubert-large --llm Qwen/Qwen3-4B --out xemogpt-4b

The checkpoint may hold the whole model or only its trained part; what it lacks comes from the backbones. Every key of
it is accounted for: used, ignored for a stated reason, or unexpected; and every weight of the model is accounted for:
from the checkpoint, from a backbone, or missing. What matters must be there, or nothing is written.
"""

import json
import os
import pickle
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Where the release's modules live here. The order matters: the first match wins.
RENAMES = (
    (r"^visual_encoder\.clip\.vision_model\.", "model.vision_tower."),
    (r"^visual_encoder\.position_embedding$", "model.video_bridge.position_embedding"),
    (r"^visual_encoder\.visual_alignment_layer\.", "model.video_bridge.layers."),
    (r"^visual_encoder\.attention_pooling\.attn_vector$", "model.video_cue_head.attention_vector"),
    (r"^visual_encoder\.visual_project\.", "model.video_cue_head.projection."),
    (r"^visual_encoder\.text_project\.", "model.video_cue_head.text_projection."),
    (r"^visual_encoder\.temporal_disc_head\.", "model.video_cue_head.temporal."),
    (r"^visual_encoder\.frame_reconstructor\.", "model.video_cue_head.reconstruction."),
    (r"^audio_encoder\.audio_encoder\.", "model.audio_tower."),
    (r"^audio_encoder\.audio_alignment_layer\.", "model.audio_bridge.layers."),
    (r"^audio_encoder\.audio_project\.", "model.audio_cue_head.projection."),
    (r"^audio_encoder\.text_project\.", "model.audio_cue_head.text_projection."),
    (r"^visual_llm_project\.", "model.video_projector."),
    (r"^audio_llm_project\.", "model.audio_projector."),
    (r"^llm_model\.(base_model\.model\.)?lm_head\.", "lm_head."),
    (r"^llm_model\.(base_model\.model\.)?model\.", "model.language_model."),
)
IGNORED = (
    (r"^visual_encoder\.clip\.(text_model|visual_projection|text_projection|logit_scale)", "CLIP's text side"),
    (r"^audio_encoder\.(text_encoder|text_model|labse)\.", "the sentence encoder of stage 2"),
    (r"\.position_ids$|\.rotary_emb\.inv_freq$", "a buffer that is computed"),
)
# Only these may be random in a converted model: generation uses none of them.
OPTIONAL = r"^model\.(video|audio)_cue_head\."
BACKBONES = ("model.vision_tower.", "model.audio_tower.", "model.language_model.", "lm_head.")


@dataclass
class ConversionReport:
    """What became of every key; `str()` of it is the report for people, `conversion.json` the one for programs."""

    out: str
    checkpoint: str
    used: int = 0
    from_backbones: int = 0
    lora: dict[str, Any] = field(default_factory=dict)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.used} tensors from {self.checkpoint}, {self.from_backbones} from the backbones"]
        if self.lora:
            lines.append("LoRA {action}: {layers} matrices, r={r}, alpha={alpha}{note}".format(**self.lora))
        else:
            lines.append("no LoRA in the file: its LLM is taken as it is")
        lines += [f"ignored, {reason}: {len(keys)} tensors" for reason, keys in self.ignored.items()]
        lines += [f"missing (newly made, not used to generate): {key}" for key in self.missing]
        return "\n".join([*lines, f"written: {self.out}"])


def convert(
    checkpoint: str | os.PathLike,
    clip: str | os.PathLike,
    hubert: str | os.PathLike,
    llm: str | os.PathLike,
    out: str | os.PathLike,
    *,
    lora_alpha: float | None = None,
    keep_lora: bool = False,
    dtype: Any = None,
) -> ConversionReport:
    """Writes the model folder `out`.

    Args:
        checkpoint: the authors' file, opened with `weights_only=True`.
        clip, hubert, llm: the backbones it was trained with, folders or Hub ids.
        out: the folder to write; it must not exist or be empty.
        lora_alpha: LoRA's alpha, which the file does not record; default: r, as the paper trained (section VI-A).
        keep_lora: leave the LLM as it was and write the LoRA to `out/adapter` for PEFT, instead of merging it.
        dtype: of the weights written; default: the LLM's own.

    Raises:
        ValueError: not such a checkpoint, or it holds keys that nothing here knows, or lacks ones that matter.
    """
    import torch
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

    from xemogpt.hub.compose import new_folder, refuse_full, torch_dtype, use_processor_tokens
    from xemogpt.hub.model_card import write_model_card
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
    from xemogpt.processing_xemogpt import XEmoGPTProcessor, XEmoGPTVideoProcessor

    report = ConversionReport(out=os.fspath(out), checkpoint=os.fspath(checkpoint))
    if lora_alpha is not None and not 0 < lora_alpha < float("inf"):
        raise ValueError(f"lora_alpha must be a positive number, not {lora_alpha}")
    refuse_full(out)
    state = _read(checkpoint)
    state, lora = _sort_keys(state, report)
    shapes = _shapes(state)
    dtype = torch_dtype(dtype) if isinstance(dtype, str) else dtype
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what stays random is the same in every conversion
        model = XEmoGPTForConditionalGeneration.from_backbones(clip, hubert, llm, dtype=dtype, **shapes)
    _untie_if_different(model, state)
    _load(model, state, report)
    adapter = _apply_lora(model, state, lora, lora_alpha, keep_lora, report)
    processor = XEmoGPTProcessor.build(
        AutoTokenizer.from_pretrained(llm),
        XEmoGPTVideoProcessor.like(AutoImageProcessor.from_pretrained(clip), backend="pil"),
        AutoFeatureExtractor.from_pretrained(hubert),
        model.config.audio_config,
        num_frames=model.config.num_frames,
    )
    use_processor_tokens(model, processor)
    model.config.untrained_parts = sorted({key.removeprefix("model.") for key in report.missing})
    name = Path(out).absolute().name
    names = {"out": name, "checkpoint": Path(checkpoint).name}  # no paths of the machine that it ran on
    origin = "Its weights were converted from the authors' release, which names no licence."
    with new_folder(out) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        write_model_card(model, folder, origin, name)
        if adapter is not None:
            _save_adapter(adapter, report.lora, folder)
        (folder / "conversion.json").write_text(json.dumps(asdict(report) | names, indent=1) + "\n", encoding="utf-8")
    return report


def _read(checkpoint: str | os.PathLike) -> dict[str, Any]:
    """The state dict, unwrapped of what training frameworks put around one."""
    import torch

    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused: it holds more than tensors, and opening it could run code; ask for a plain state dict"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a readable PyTorch checkpoint ({_first_line(error)})") from error
    for wrapper in ("state_dict", "model", "module"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    tensors = isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not tensors or not state:
        raise ValueError(f"{path}: not a state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _sort_keys(state: dict[str, Any], report: ConversionReport) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Renames the weights; sets the LoRA pairs apart as {module: {"A": ..., "B": ...}}."""
    renamed: dict[str, Any] = {}
    lora: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        reason = next((reason for pattern, reason in IGNORED if re.search(pattern, key)), None)
        if reason is not None:
            report.ignored.setdefault(reason, []).append(key)
            continue
        name = next((re.sub(old, new, key) for old, new in RENAMES if re.search(old, key)), None)
        if name is None:
            report.unexpected.append(key)
            continue
        name = name.replace(".base_layer.", ".")
        for index, part in enumerate("gv"):  # weight norm, as torch named it before 2.0
            name = re.sub(rf"\.conv\.weight_{part}$", f".conv.parametrizations.weight.original{index}", name)
        pair = re.match(r"(.*)\.lora_([AB])\.default\.weight$", name)
        if pair is not None:
            lora.setdefault(pair[1], {})[pair[2]] = value
        else:
            renamed[name] = value
    if report.unexpected:
        raise ValueError(f"the checkpoint holds {len(report.unexpected)} unknown tensors: {_some(report.unexpected)}")
    return renamed, lora


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint's own shapes say about the model."""
    position = state.get("model.video_bridge.position_embedding")
    if position is None:
        raise ValueError("the checkpoint lacks visual_encoder.position_embedding: not a release of XEmoGPT")
    shapes: dict[str, Any] = {"num_frames": position.shape[1]}
    for head in ("video", "audio"):
        projection = state.get(f"model.{head}_cue_head.projection.weight")
        text = state.get(f"model.{head}_cue_head.text_projection.weight")
        if projection is not None:
            shapes["cue_embedding_size"] = projection.shape[0]
        if text is not None:
            shapes[f"{head}_text_size"] = text.shape[1]
    return shapes


def _untie_if_different(model: Any, state: dict[str, Any]) -> None:
    """Tied word embeddings stay tied only where the checkpoint's two matrices are one."""
    import torch

    head, embedding = state.get("lm_head.weight"), state.get("model.language_model.embed_tokens.weight")
    if not model.config.tie_word_embeddings or head is None or embedding is None:
        return
    if torch.equal(head, embedding):
        del state["lm_head.weight"]
        return
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())


def _load(model: Any, state: dict[str, Any], report: ConversionReport) -> None:
    """Copies the checkpoint into the model; a backbone must be there as a whole or not at all."""
    import torch

    own = model.state_dict()
    tied = set(model.all_tied_weights_keys or {}) if model.config.tie_word_embeddings else set()
    unexpected = sorted(set(state) - set(own))
    missing = sorted(set(own) - set(state) - tied)
    wrong = [
        f"{key} {tuple(state[key].shape)} != {tuple(own[key].shape)}"
        for key in state.keys() & own.keys()
        if state[key].shape != own[key].shape
    ]
    problems = []
    if unexpected:
        report.unexpected = unexpected
        problems.append(f"{len(unexpected)} tensors have no place in these backbones: {_some(unexpected)}")
    if wrong:
        problems.append(f"{len(wrong)} tensors have another shape (wrong backbone?): {_some(sorted(wrong))}")
    absent = []
    for key in missing:
        backbone = next((prefix for prefix in BACKBONES if key.startswith(prefix)), None)
        if backbone is None and re.match(OPTIONAL, key):
            report.missing.append(key)
        elif backbone is None or any(name.startswith(backbone) for name in state):
            absent.append(key)
        else:
            report.from_backbones += 1
    if absent:
        problems.append(f"{len(absent)} tensors that matter are missing: {_some(absent)}")
    if problems:
        raise ValueError(f"{report.checkpoint}: " + "; ".join(problems))
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value)
    report.used = len(state)


def _apply_lora(
    model: Any,
    state: dict[str, Any],
    lora: dict[str, dict[str, Any]],
    alpha: float | None,
    keep: bool,
    report: ConversionReport,
) -> dict[str, Any] | None:
    """Merges W + (alpha / r) B A, or returns the adapter's tensors."""
    import torch

    if not lora:
        if not any(name.startswith("model.language_model.") for name in state):
            raise ValueError(f"{report.checkpoint}: neither a LoRA nor an LLM in the file: the LLM would be untuned")
        return None
    incomplete = sorted(name for name, pair in lora.items() if set(pair) != {"A", "B"})
    targets = {name.rsplit(".", 1)[1] for name in lora}
    blocks = {name.rsplit(".", 1)[0] for name in lora}
    lacking = sorted({f"{block}.{target}" for block in blocks for target in targets} - set(lora))
    num_layers = model.config.text_config.num_hidden_layers
    if len(blocks) % num_layers:
        lacking.append(f"blocks with LoRA: {len(blocks)}, in an LLM of {num_layers} layers")
    if incomplete or lacking:
        raise ValueError(f"{report.checkpoint}: the LoRA is incomplete: {_some(incomplete + lacking)}")
    ranks = {pair["A"].shape[0] for pair in lora.values()}
    if len(ranks) > 1:
        raise ValueError(f"{report.checkpoint}: LoRA of several ranks {sorted(ranks)}; one alpha cannot fit them all")
    r = ranks.pop()
    scale = (alpha if alpha is not None else r) / r
    note = "" if alpha is not None else " (alpha is not in the file; r assumed, as the paper trained)"
    action = "kept in adapter/" if keep else "merged"
    report.lora = {"action": action, "layers": len(lora), "r": r, "alpha": scale * r, "note": note}
    report.lora["targets"] = sorted(targets)
    report.used += 2 * len(lora)
    modules = dict(model.named_modules())
    adapter: dict[str, Any] = {}
    with torch.no_grad():
        for name, pair in lora.items():
            weight = modules[name].weight
            delta = scale * (pair["B"].float() @ pair["A"].float())
            if delta.shape != weight.shape:
                raise ValueError(f"{report.checkpoint}: LoRA of {name} has another shape than its weight")
            if keep:
                adapter |= {f"base_model.model.{name}.lora_{side}.weight": pair[side].contiguous() for side in "AB"}
            else:
                weight.copy_(weight.float() + delta)
    return adapter if keep else None


def _save_adapter(adapter: dict[str, Any], lora: dict[str, Any], folder: Path) -> None:
    """PEFT's own file layout, for `model.load_adapter(folder / "adapter")`."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    config = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=0.05,
        target_modules=rf"model\.language_model\..*\.({'|'.join(lora['targets'])})",
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    (folder / "adapter").mkdir()
    config.save_pretrained(folder / "adapter")
    save_file(adapter, folder / "adapter" / "adapter_model.safetensors", metadata={"format": "pt"})


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _some(names: list[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f", ... ({len(names) - count} more)" if len(names) > count else "")
