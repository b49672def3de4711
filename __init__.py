# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""XEmoGPT: explain the emotion in a clip from visual, audio and global cues.

Names are loaded on first use (PEP 562), so that `import xemogpt` and `xemogpt --help` cost no torch. The imports are
absolute because test runners and model hubs also load this file as the root of a repository whose folder name is no
Python identifier.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xemogpt.configuration_xemogpt import XEmoGPTConfig
    from xemogpt.inference.explain import explain
    from xemogpt.inference.explanation import Explanation
    from xemogpt.modeling_xemogpt import (
        AudioEmotionalCueBridge,
        VideoEmotionalCueBridge,
        XEmoGPTForConditionalGeneration,
        XEmoGPTModel,
    )
    from xemogpt.processing_xemogpt import XEmoGPTProcessor

__version__ = "0.1.0"

__all__ = [
    "AudioEmotionalCueBridge",
    "Explanation",
    "VideoEmotionalCueBridge",
    "XEmoGPTConfig",
    "XEmoGPTForConditionalGeneration",
    "XEmoGPTModel",
    "XEmoGPTProcessor",
    "__version__",
    "explain",
]

_MODULE_OF = {
    "AudioEmotionalCueBridge": "modeling_xemogpt",
    "Explanation": "inference.explanation",
    "VideoEmotionalCueBridge": "modeling_xemogpt",
    "XEmoGPTConfig": "configuration_xemogpt",
    "XEmoGPTForConditionalGeneration": "modeling_xemogpt",
    "XEmoGPTModel": "modeling_xemogpt",
    "XEmoGPTProcessor": "processing_xemogpt",
    "explain": "inference.explain",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"xemogpt.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
