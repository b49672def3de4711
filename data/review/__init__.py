# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""People judge what was built (section IV of the paper, Fig. 10): two texts of a clip, which is which unknown to them,
each rated 1 to 5 for its visual, its audio and its global cues.

    ratings.py       what is shown to whom, and what they say
    server.py        the page
    label_studio.py  the same through Label Studio
    statistics.py    agreement, tests, intervals
    report.py        the numbers and the figure
"""
