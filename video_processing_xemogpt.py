# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Frames to pixel values, on torch alone (torchvision is not needed)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_base import ImageProcessingMixin
from transformers.processing_utils import ImagesKwargs

from .inputs_xemogpt import resize_frames

try:
    from PIL import Image
except ImportError:  # only the "pil" backend needs it
    Image = None  # type: ignore[assignment]


class XEmoGPTVideoProcessor(ImageProcessingMixin):
    """Frames -> what the vision tower reads, as transformers' CLIP image processor does, on torch alone.

    Args:
        size: shortest edge after the resize, in pixels (both edges if `crop_size` is None, as SigLIP wants).
        crop_size: edge of the central crop, or None.
        resample: 2 (bilinear) or 3 (bicubic), PIL's codes; always antialiased.
        image_mean, image_std: per channel, after scaling to [0, 1].
        backend: `"torch"` resizes uint8 in one call; `"pil"` frame by frame, one level apart in places. Converted
            weights of the authors keep `"pil"`, with which they were trained.
    """

    model_input_names = ["pixel_values_videos"]  # noqa: RUF012
    _auto_class = "AutoImageProcessor"
    valid_kwargs = ImagesKwargs  # what of the arguments of `AutoProcessor.from_pretrained` comes here

    def __init__(
        self,
        size: int = 224,
        crop_size: int | None = 224,
        resample: int = 3,
        image_mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        image_std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        backend: str = "torch",
        **kwargs: Any,
    ):
        if unknown := sorted(kwargs.keys() & ImagesKwargs.__annotations__):
            raise ValueError(
                f"the frame processor has no setting {', '.join(unknown)}; it has size, crop_size, resample, "
                "image_mean, image_std and backend"
            )
        if not isinstance(size, int):
            raise ValueError(f"size must be a number of pixels, the shortest edge after the resize, not {size!r}")
        super().__init__(**kwargs)
        if backend not in ("torch", "pil"):
            raise ValueError(f"backend must be 'torch' or 'pil', not {backend!r}")
        if backend == "pil" and Image is None:
            raise ImportError("this model's frames are resized by Pillow: pip install pillow")
        if resample not in (2, 3):
            raise ValueError(f"resample must be 2 (bilinear) or 3 (bicubic), not {resample}")
        self.size, self.crop_size, self.resample, self.backend = size, crop_size, int(resample), backend
        self.image_mean, self.image_std = list(image_mean), list(image_std)

    @classmethod
    def like(cls, image_processor: Any, backend: str = "torch") -> "XEmoGPTVideoProcessor":
        """The same pixels as a transformers image processor (CLIP, SigLIP, DINOv2, ConvNeXt, ...: resize, crop,
        normalise).

        Raises:
            ValueError: it does something to the pixels that this class does not.
        """
        _refuse_foreign_steps(image_processor)
        size, crop = dict(image_processor.size), getattr(image_processor, "crop_size", None)
        edge = int(size["shortest_edge"] if "shortest_edge" in size else size["height"])
        crop = dict(crop) if crop and getattr(image_processor, "do_center_crop", False) else {}
        normalize = getattr(image_processor, "do_normalize", True)
        if "shortest_edge" not in size and size.get("height") != size.get("width"):
            raise ValueError(f"only square image sizes are supported, not {size}")
        cropped = crop.get("height", edge if "shortest_edge" in size else None)
        if getattr(image_processor, "crop_pct", None):  # ConvNeXt's: large images are squeezed, none is cropped
            edge, cropped = (edge, None) if edge >= 384 else (int(edge / image_processor.crop_pct), edge)
        return cls(
            size=edge,
            crop_size=cropped,
            resample=int(image_processor.resample or 3),
            image_mean=image_processor.image_mean if normalize else (0.0, 0.0, 0.0),
            image_std=image_processor.image_std if normalize else (1.0, 1.0, 1.0),
            backend=backend,
        )

    def __call__(self, videos: Sequence[np.ndarray], return_tensors: str | None = "pt", **_: Any) -> BatchFeature:
        """uint8 videos, each (T, H, W, 3), T equal -> `pixel_values_videos` (N, T, 3, size, size) float32."""
        pixels = torch.stack([self._resize(np.asarray(frames)) for frames in videos]).float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.image_mean, self.image_std))
        return BatchFeature({"pixel_values_videos": (pixels - mean) / std}, tensor_type=return_tensors)

    def _resize(self, frames: np.ndarray) -> torch.Tensor:
        """(T, H, W, 3) -> (T, 3, crop, crop), both uint8."""
        height, width = frames.shape[1:3]
        extreme = max(height, width) > 16 * min(height, width)  # whole, it would grow to gigabytes before the crop
        if self.crop_size is not None and (extreme or (self.backend == "torch" and self.resample == 3)):
            return resize_frames(frames, self.size, self.crop_size)
        if self.crop_size is None:
            target = (self.size, self.size)
        else:
            short = min(height, width)
            target = (self.size * height // short, self.size * width // short)
        if self.backend == "pil":
            resized = [Image.fromarray(frame).resize(target[::-1], resample=self.resample) for frame in frames]
            pixels = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).permute(0, 3, 1, 2)
        else:
            mode = "bicubic" if self.resample == 3 else "bilinear"
            pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
            pixels = torch.nn.functional.interpolate(pixels, target, mode=mode, antialias=True)
        if self.crop_size is None:
            return pixels
        return resize_frames(pixels.permute(0, 2, 3, 1).contiguous(), min(target), self.crop_size)


def _refuse_foreign_steps(image_processor: Any) -> None:
    """Raises ValueError where an image processor changes pixels in a way that `XEmoGPTVideoProcessor` does not."""
    kind = type(image_processor).__name__
    if kind.startswith(("Levit", "PoolFormer")):  # these resize by a rule of their own
        raise ValueError(f"the frames of a {kind} cannot be made here: its resize is not supported")
    usual = {
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "rescale_offset": False,
        "include_top": False,  # EfficientNet's: normalises twice
        "do_flip_channel_order": False,
        "do_pad": False,
    }
    for name, value in usual.items():
        found = getattr(image_processor, name, None)
        if found is not None and abs(found - value) > 1e-9:
            raise ValueError(f"the frames of a {kind} cannot be made here: its {name} is {found}, not {value}")


__all__ = ["XEmoGPTVideoProcessor"]
