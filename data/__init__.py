# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What goes into and comes out of an explanation: cues, prompts, and (later) the corpora they are learned from."""
