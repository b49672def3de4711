# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which cues contradict each other in EmoCue-360's preset `robust`."""

import numpy as np
import pytest

from xemogpt.eval.emocue_360.polarity import contradictions, is_negated, sides


@pytest.mark.parametrize(
    ("first", "second", "opposed"),
    [
        ("is smiling", "is not smiling", True),
        ("is not smiling", "isn't smiling", False),
        ("he cannot help smiling", "he smiles", False),
        ("his voice rises to a shout", "he whispers", True),
        ("is happy", "is not sad", False),
        ("not only angry but hurt", "angry and hurt", False),
        ("她在微笑", "她没有微笑", True),
        ("她感到不满", "她满意", True),
        ("语速不断加快", "语速加快", False),
        ("not without joy", "joy", False),
        ("She neither smiles nor laughs", "she smiles and laughs", True),
        ("neither smiling, nor laughing", "not smiling", False),
        ("is not smiling and is not laughing", "is smiling and laughing", True),
        ("is not smiling and is not laughing", "isn't smiling nor laughing", False),
        ("nor does she smile", "she smiles", True),
        ("a smile is absent", "a smile", True),
        ("looks absent-minded", "does not look so", True),
        ("没有微笑，也没有大笑", "微笑，大笑", True),
        ("a certain anxiety", "she is unsure", False),
        ("certainly sad", "she is unsure", False),
        ("he is certain of it", "he is unsure", True),
        ("a close-up of her eyes", "eyes wide open", False),
        ("he watches closely", "eyes wide open", False),
        ("she closes her eyes", "eyes wide open", True),
        ("not just happy but excited", "happy and excited", False),
        ("she is not merely polite", "she is polite", False),
        ("not simply tired", "tired", False),
        ("he smiles whether or not she looks", "he smiles", False),
        ("whether she looks or not, he smiles", "he smiles", False),
        ("no matter what he says, she smiles", "she smiles", False),
        ("his yellow shirt", "his voice is soft", False),
        ("she has dimples", "a bright room", False),
        ("he fastens his belt", "his speech is slow", False),
        ("he grinds his teeth", "he frowns", False),
        ("a crystal glass and a sober tone", "she laughs", False),
        ("the content of the sentence is matter-of-fact", "she is dissatisfied", False),
        ("he looks content", "she is dissatisfied", True),
        ("the room is dim", "a bright room", True),
        ("无比高兴", "高兴", False),
        ("她无疑很高兴", "她很高兴", False),
        ("毫无疑问她很高兴", "她很高兴", False),
        ("她不时微笑", "她微笑", False),
        ("不只高兴", "高兴", False),
        ("不久她微笑", "她微笑", False),
        ("不过她微笑", "她微笑", False),
        ("不管怎样她微笑", "她微笑", False),
        ("不免难过", "难过", False),
        ("不得不微笑", "微笑", False),
        ("她不满意", "她满意", True),
        ("她不满意", "她不满", False),
        ("她毫无笑容", "她的笑容", True),
    ],
)
def test_contradictions(first: str, second: str, opposed: bool) -> None:
    marks = [(np.array([is_negated(text)]), sides([text])) for text in (first, second)]
    assert contradictions(*marks[0], *marks[1]).item() is opposed
