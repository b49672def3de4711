# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How model folders come to be: composed from backbones, converted from a release, or the embedded default."""
