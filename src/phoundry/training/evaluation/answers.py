"""How close an answer comes to its reference: exact match and F1 over words, as SQuAD has them.

Rajpurkar et al. 2016 (arXiv:1606.05250), normalisation of their evaluation script: lower case, no
punctuation, no English articles, single spaces. Both metrics are shares from 0 to 1.
"""

from __future__ import annotations

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """`text` as it is compared."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact(answer: str, reference: str) -> float:
    """1 if both are the same after normalisation, else 0."""
    return float(normalise(answer) == normalise(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it stands.

    With p = common ÷ words of the answer and r = common ÷ words of the reference: 2pr ÷ (p + r).
    Where one of them has no word left, it is 1 if neither has, else 0 (as SQuAD 2.0 has it).
    """
    said, meant = normalise(answer).split(), normalise(reference).split()
    if not said or not meant:
        return float(said == meant)
    common = sum((Counter(said) & Counter(meant)).values())
    return 2 * common / (len(said) + len(meant))
