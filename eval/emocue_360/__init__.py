# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-360: scores an explanation of emotion by its cues. A folder that stands alone, as an `evaluate` Space does.

`scoring.score` is the function, `emocue_360` its `evaluate` wrapper, `rules` and `llm` read cues out of texts.
"""
