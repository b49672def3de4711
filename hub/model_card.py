# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The model card (README.md) of a model folder: what is in it, how large each part is, and what is untrained."""

from pathlib import Path
from typing import Any

PARTS = {
    "vision_tower": "vision tower, frozen",
    "audio_tower": "audio tower, frozen",
    "video_bridge": "Video Emotional Cue Bridge (VECB)",
    "audio_bridge": "Audio Emotional Cue Bridge (AECB)",
    "video_projector": "video projector",
    "audio_projector": "audio projector",
    "video_cue_head": "visual cue-alignment head",
    "audio_cue_head": "audio cue-alignment head",
    "language_model": "LLM",
}


def part_sizes(model: Any) -> dict[str, int]:
    """Parameters of each part of an `XEmoGPTForConditionalGeneration`; a tied head counts with the LLM's embedding."""
    sizes = {name: sum(p.numel() for p in getattr(model.model, name).parameters()) for name in PARTS}
    if model.lm_head.weight is not model.get_input_embeddings().weight:
        sizes["language_model"] += model.lm_head.weight.numel()
    return sizes


def write_model_card(model: Any, folder: Path, origin: str, title: str | None = None) -> Path:
    """Writes `folder/README.md`.

    Args:
        model: the model in the folder.
        origin: one sentence on where its weights come from.
        title: of the card; default: the folder's name.
    """
    config = model.config
    backbones = {name: getattr(config, f"{name}_config") for name in ("vision", "audio", "text")}
    ids = [getattr(part, "_name_or_path", "") for part in backbones.values()]
    hub_ids = [name for name in ids if name.count("/") == 1 and not Path(name).exists()]
    metadata = {
        "library_name": "transformers",
        "license": "other",
        "license_name": "as-its-backbones",
        "license_link": "https://arxiv.org/abs/2602.05496",
        "pipeline_tag": "video-text-to-text",
        "language": ["en", "zh"],
        "tags": ["xemogpt", "emotion-recognition", "explainable", "multimodal", "custom_code"],
        **({"base_model": hub_ids} if hub_ids else {}),
    }
    sizes = part_sizes(model)
    rows = [f"| {PARTS[name]} | `{name}` | {size:,} |" for name, size in sizes.items()]
    steps = "audio step" if config.audio_pooling == 1 else f"{config.audio_pooling} audio steps"
    untrained = ", ".join(f"`{name}`" for name in config.untrained_parts)
    warning = (
        f"\n**Untrained parts (random weights): {untrained}.** What this model writes is no evidence about a clip.\n"
        if config.untrained_parts
        else ""
    )
    text = f"""---
{_yaml(metadata)}---

# {title or folder.name}

An XEmoGPT model (arXiv 2602.05496): it explains the emotion in a clip from visual and audio cues. {origin}
{warning}
| part | module | parameters |
|---|---|---|
{chr(10).join(rows)}
| **all** | | {sum(sizes.values()):,} |

{config.num_frames} frames per clip and one token per {steps}; towers: `{backbones["vision"].model_type}`,
`{backbones["audio"].model_type}`; LLM: `{backbones["text"].model_type}`. The code in this folder is under the Apache
License 2.0; the weights are under the licences of the models they come from. The authors' release names none: ask them
before you pass weights on that were converted from it.

```python
from transformers import AutoModelForMultimodalLM, AutoProcessor

model = AutoModelForMultimodalLM.from_pretrained(".", trust_remote_code=True)
processor = AutoProcessor.from_pretrained(".", trust_remote_code=True)
messages = processor.conversation(video="clip.mp4", subtitle="What was said.")
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
answer = model.generate(**inputs.to(model.device))[0, inputs["input_ids"].shape[1] :]
print(processor.decode(answer, skip_special_tokens=True))
```

Intended for research on emotion as expressed in video and voice; not for judging real people. It names what a face and
a voice show, not what a person feels.
"""
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _yaml(metadata: dict[str, Any]) -> str:
    lines = []
    for key, value in metadata.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"- {item}" for item in value)]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines) + "\n"
