# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""From clips to explanations: which clips are meant, the loaded model, one call, and the runner over many clips."""
