# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What is measured of a model: speed and memory."""
