# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-Synth: rendered talking heads whose cues are known by construction."""
