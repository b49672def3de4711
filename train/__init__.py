# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The three training stages: VECB (1) and AECB (2) aligned with cue texts, then instruction tuning (3)."""
