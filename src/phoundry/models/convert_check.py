"""Is the GGUF file the model that it was made of? llama.cpp runs it, transformers runs the same.

Three comparisons, each blind to what the others are for:

1. What the file says of the model (`gguf_facts`), and every tensor read back (`read_back`), against
   the checkpoint: exact bounds, so that a swapped tensor or a lost permutation is found even in
   four bits.
2. llama.cpp's log-probabilities against transformers' **with the values that the file holds**.
   Rounding of weights plays no part, only what llama.cpp computes with them: the rotary embedding,
   norms, heads, and its own eight-bit activations. This is `error`, and its limit is narrow.
3. llama.cpp's against transformers' with the checkpoint's values: what quantisation costs. That is
   the user's choice, told and not refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.data.tokenizer import ChatTokenizer
from phoundry.errors import InvalidInput, ModelError, NotFound
from phoundry.models import llama_cpp, reference
from phoundry.models.architectures import architecture
from phoundry.models.checkpoints import read_config
from phoundry.models.gguf_facts import check_facts
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.read_back import Compared, ReadBack
from phoundry.models.tensors import Weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

# `error` may be this share of how far the model's log-probabilities lie apart (their standard
# deviation over the vocabulary). docs/design/models.md has what was measured.
LIMITS = {"F32": 0.01, "F16": 0.01, "BF16": 0.03, "Q8_0": 0.1, "Q5_1": 0.1, "Q4_0": 0.1}
# Told where at more than this share of places another token is the likeliest.
TOLD = 0.2
# Tokens of the text, and places in it that are compared. llama.cpp rounds a context up to 256.
TOKENS, PLACES, TOP = 240, 16, 500
_TEXT = (
    "I am renovating a small house at the edge of the old town. The city wants drawings, a list of "
    "materials and two signatures before anybody may touch the roof, and I have 30 days left. Last "
    "year my neighbour paid 1,250.75 euros because a wall stood 12 cm too close to the road; he "
    "still tells that story whenever we meet. Could you explain, step by step, which permits are "
    "needed first, who signs them, and what happens if one of them comes late? Please answer in "
    "plain words, and say so where you are not sure. The house was built in 1931, has three floors "
    "and a cellar, and nobody has lived in it since the winter of 2004. Here is what I know so "
    'far: "Minor works need no licence, but they must be announced ten days before they begin." '
    "Is that true for scaffolding, for new windows, and for a pump that draws heat from the ground?"
)


@dataclass(frozen=True, slots=True)
class ConvertCheck:
    """Root mean squares over the likeliest tokens at the places compared, natural logarithms."""

    error: float  # llama.cpp against transformers with the file's own values
    change: float  # llama.cpp against transformers with the checkpoint's values
    spread: float  # of the checkpoint's own: their standard deviation over the vocabulary
    same_token: float  # share of places where the likeliest token is the checkpoint's
    places: int

    def agrees(self, quantization: str) -> bool:
        return self.error <= LIMITS[quantization] * self.spread

    def notices(self, quantization: str) -> list[str]:
        """What the user of a file that lost much is told."""
        changed = self.places - round(self.same_token * self.places)
        if changed <= TOLD * self.places:
            return []
        return [
            f"{quantization} changes this model: at {changed} of {self.places} places of a sample "
            "text, another token is the likeliest. Q8_0 and F16 stay closer to it."
        ]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_conversion(
    checkpoint_dir: Path, gguf: Path, quantization: str, say: Callable[[str], None] = print
) -> ConvertCheck:
    """Compare `gguf` with the checkpoint that it was made of; one model is in memory at a time.

    Raises:
        MissingDependency: xllamacpp is not installed.
        ModelError: a tensor is not what was to be written, llama.cpp cannot run the file, or it
            computes something else (see `LIMITS`).
    """
    config = read_config(checkpoint_dir)
    ids, whole = sample(checkpoint_dir, int(config["max_position_embeddings"]))
    lengths = [len(ids) * (place + 1) // PLACES for place in range(PLACES)]
    say("Running the file in llama.cpp.")
    found = llama_cpp.next_log_probabilities(gguf, ids, lengths, top=TOP, whole=whole)
    say("Reading the file back.")
    file, weights, model = (
        GGUFFile(gguf),
        Weights(checkpoint_dir),
        reference.skeleton(checkpoint_dir),
    )
    check_facts(file, model)
    read = Compared(ReadBack(file, architecture(config["model_type"]), config), weights)
    same = reference.run(model, read, ids, lengths)
    say("Comparing the file with the model.")
    plain = reference.run(model, weights.floats, ids, lengths)
    result = _compare(found, same, plain)
    if not result.agrees(quantization):
        raise ModelError(
            f"llama.cpp does not compute what this model does: its log-probabilities differ by "
            f"{result.error:.3f}, and {LIMITS[quantization] * result.spread:.3f} is the most that "
            f"{quantization} may differ on this model.",
            remedy="The engine transformers serves it as it was trained: name `engine: "
            "transformers` in the deployment. Please tell the authors which model this is.",
        )
    return result


def sample(checkpoint_dir: Path, context: int) -> tuple[list[int], int]:
    """Tokens of a conversation as the model is asked, and one of them that is whole characters."""
    try:
        tokenizer = ChatTokenizer.load(checkpoint_dir)
        ids = tokenizer.render_prompt([{"role": "user", "content": _TEXT}])
        special = tokenizer.special_ids
    except (InvalidInput, NotFound):  # a model without a chat template can be converted, too
        ids, special = _plain(checkpoint_dir), frozenset[int]()
    ids = ids[: min(TOKENS, context - 1)]
    decode = _decoder(checkpoint_dir)
    for token in ids:
        text = decode([token])
        if token not in special and text.isascii() and text.strip():
            return ids, token
    raise ModelError(f"The tokenizer in {checkpoint_dir} has no whole token for an English text.")


def _plain(checkpoint_dir: Path) -> list[int]:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(checkpoint_dir / "tokenizer.json")).encode(_TEXT).ids


def _decoder(checkpoint_dir: Path) -> Callable[[list[int]], str]:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(checkpoint_dir / "tokenizer.json")).decode


def _compare(found: Sequence[dict[int, float]], same: Floats, plain: Floats) -> ConvertCheck:
    import numpy as np

    errors: list[Floats] = []
    changes: list[Floats] = []
    agreed = 0
    for place, likeliest in enumerate(found):
        tokens = np.fromiter(likeliest, int)
        values = np.fromiter(likeliest.values(), float)
        errors.append(values - same[place, tokens])
        changes.append(values - plain[place, tokens])
        agreed += int(tokens[0] == plain[place].argmax())

    def rms(parts: list[Floats]) -> float:
        return float(np.sqrt(np.square(np.concatenate(parts)).mean()))

    return ConvertCheck(
        error=rms(errors),
        change=rms(changes),
        spread=float(plain.std(axis=1).mean()),
        same_token=agreed / len(found),
        places=len(found),
    )
