# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`python -m xemogpt` is the `xemogpt` command."""

import sys

from xemogpt.cli import main

if __name__ == "__main__":
    sys.exit(main())
