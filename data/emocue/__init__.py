# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Builds cue-level training data from labelled clips (paper, section IV): EmoCue-Instruct and EmoCue-ShortCaption.

    S0 index    probe and hash the media                          stages.py
    S1 infer    models say what they see, hear and read           stages.py, prompts.py, client.py
    S2 verify   duplicates, modality, polarity, label, conflicts  checks.py
    S3 merge    a model consolidates; S4 its answer is gated      stages.py, checks.py
    S5 short    one to three cues in at most 25 words             stages.py
    S6 publish  parquet, provenance, rejects, data card           publish.py
    S7 review   a stratified sample for people to judge           publish.py

Every clip ends once, in the data set or among the rejects. docs/data.md says how it is run.
"""
