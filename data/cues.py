# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The sentences of an explanation by modality.

There is one reading of explanations in this project, that of the metric, whose folder stands alone and imports nothing
of the package; so it lives there, and this module gives it to everything else.
"""

from xemogpt.eval.emocue_360.cue_schema import MODALITIES as CUE_KINDS
from xemogpt.eval.emocue_360.sections import read_sentences, split_cues

__all__ = ["CUE_KINDS", "read_sentences", "split_cues"]
