"""Training parameters under the names and defaults of Azure ML's chat-completion fine-tune.

parameters.py      every parameter with its default, its range and what it does
spellings.py       other ways of writing the same value that are taken
contradictions.py  values that are fine alone and not together
resolution.py      whose value wins, every fault at once, and what is worth saying
written.py         faults of a YAML file, with its lines
"""

from __future__ import annotations

from phoundry.specs.finetune.parameters import FineTuneParameters, Truncation
from phoundry.specs.finetune.resolution import Source, notices, resolve
from phoundry.specs.finetune.written import located, written_faults

__all__ = [
    "FineTuneParameters",
    "Source",
    "Truncation",
    "located",
    "notices",
    "resolve",
    "written_faults",
]
