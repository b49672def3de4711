# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Whether two cues contradict each other, which sentence encoders do not see ("is smiling", "is not smiling": .885).

A cue is negated if its negators are odd in number, or are so in each of its coordinated clauses: "not smiling and not
laughing" denies as "not smiling" does. Two cues oppose each other if one has a word of one side of a pair
of antonyms, the other a word of the other side, and neither has both. They contradict if either exactly one is negated
or they oppose each other, but not both: "not sad" does not contradict "happy".
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

_NEGATION = re.compile(
    r"(?i)\b(?:not(?!\s+(?:only|just|merely|simply))|no(?!\s+(?:doubt|matter|wonder))|never|neither|nor|none|nobody"
    r"|nothing|without|lacks?|lacking|fails? to|cannot(?!\s+help)|hardly|barely|absence of|absent(?![-\s]?minded)"
    r"|devoid of|free of)\b"
    r"|n['’]t\b(?!\s+(?:help|wait))"
    r"|没有|没(?!关系)|(?<!不得)不(?![同仅但断禁由住停少安耐悦解已错适足时只久过管论免]|满(?!意)|确定|可思议|知所措|好意思|自觉|得不"
    r"|一会|$)|并非|并未|未(?=[^来])|毫无(?!疑)|无(?=[^奈力助聊比疑论])|缺乏|从未|绝非"
)
_UNDECIDED = re.compile(r"(?i)\b(whether\b[^.;。；]*?)\s+or\s+not\b")
# Where clauses part; a "nor" that does so takes up the negation before it and is none of its own.
_COORDINATION = re.compile(r"(?i)[,;，；、]|(?<=\s)(?:and|or|but|nor)\b|并且|而且|也")
# Two sides a line; a stem stands for all that begins with it. On no side are "a certain", "certainly",
# "close-up", "yellow", "dimples", "fastens", "crystal", "sober", "grinds", "tens of", and "content" as a noun.
_ANTONYMS = r"""
smil* grin grins grinned grinning laugh* beam* | frown* scowl* cry crying cries cried weep* sob sobs sobbed sobbing
happy happi* joy* delight* pleased cheerful | sad* sorrow* grief unhappy miser* depress*
calm* relax* peaceful* composed composure | agitat* tense* tensi* nervous* anxi* restless*
rais* lift* upturned upward* high higher | lower* drop* downturned downward* droop* low
loud* shout* yell(?!ow)* | soft* quiet* whisper* silent* hush*
fast faster fastest quick* rapid* hurried* | slow* unhurried*
open* wide* widen* | close(?![-\s]up) closes closed closing shut* narrow* squint*
positive* friendl* warm* | negative* hostil* cold*
bright* | dark* dim dims dimmed dimmer dimming dimly
confident* (?<!\ba\s)certain certainty | hesita* uncertain* unsure doubt*
satisf* contente* contentm* (?:is|was|look*|seem*|feel*)\s+content agree* | dissatisf* displeas* discontent* disagree*
steady stead* stable | trembl* shak* unsteady quiver*
微笑 笑容 大笑 欢笑 | 皱眉 哭泣 流泪 哭腔
开心 高兴 快乐 愉快 喜悦 | 难过 悲伤 伤心 沮丧
平静 放松 冷静 | 紧张 激动 焦虑
上扬 上升 抬起 | 下垂 下降 低垂
大声 响亮 | 小声 轻声 低声
快速 较快 急促 | 缓慢 较慢
睁大 张开 | 紧闭 闭上
积极 友好 | 消极 敌意
满意 | 不满(?!意)
"""


@cache
def is_negated(text: str) -> bool:
    """Whether the negators in the text, or in each of its coordinated clauses, are odd in number.

    >>> is_negated("She is not smiling"), is_negated("not without joy"), is_negated("no smile and no tears")
    (True, False, True)
    """
    clauses = [each for each in _COORDINATION.split(_UNDECIDED.sub(r"\1", text)) if re.search(r"\w", each)]
    odd = [len(_NEGATION.findall(each)) % 2 for each in clauses]
    return sum(odd) % 2 == 1 or (bool(odd) and all(odd))


def affirmed(text: str) -> str:
    """The text without its words of negation: what it denies, if it denies.

    >>> affirmed("She never smiles").split()
    ['She', 'smiles']
    """
    return _NEGATION.sub(" ", _UNDECIDED.sub(r"\1", text))


def sides(texts: Sequence[str]) -> np.ndarray:
    """int8[n, k]: for each text and pair of antonyms +1, -1, or 0 where it has words of neither side or of both."""
    rows = [[bool(left.search(text)) - bool(right.search(text)) for left, right in _pairs()] for text in texts]
    return np.array(rows, dtype=np.int8).reshape(len(texts), len(_pairs()))


def contradictions(
    negated_b: np.ndarray, sides_b: np.ndarray, negated_a: np.ndarray, sides_a: np.ndarray
) -> np.ndarray:
    """bool[b, a]: which of b cues contradicts which of a cues, from `is_negated` and `sides` of each.

    >>> texts = ["is happy", "is not happy", "is not sad"]
    >>> marks = np.array([is_negated(text) for text in texts]), sides(texts)
    >>> contradictions(*marks, *marks).astype(int).tolist()
    [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    """
    opposed = (sides_b[:, None] * sides_a[None] < 0).any(-1)  # (b, a)
    return (negated_b[:, None] != negated_a[None]) != opposed


@cache
def _pairs() -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    return tuple(tuple(map(_any_of, line.split(" | "))) for line in _ANTONYMS.strip().splitlines())  # type: ignore[misc]


def _any_of(words: str) -> re.Pattern[str]:
    latin = [word.replace("*", r"\w*") for word in words.split() if word.isascii()]
    other = [word for word in words.split() if not word.isascii()]
    return re.compile("|".join(([rf"(?i:\b(?:{'|'.join(latin)})\b)"] if latin else []) + other))
