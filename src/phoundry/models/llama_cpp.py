"""llama.cpp's log-probabilities of a GGUF file: what the file computes where it will be served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phoundry.errors import MissingDependency, ModelError

# llama.cpp's levels: 0 output, 1 errors.
_ERRORS_ONLY = 1
# Added to the logit of a token that stands for itself, so that an answer is never half a character:
# of those llama.cpp tells nothing. Probabilities are those before it is added.
_CERTAIN = 1000.0


def next_log_probabilities(
    path: Path, ids: Sequence[int], lengths: Sequence[int], *, top: int, whole: int
) -> list[dict[int, float]]:
    """For each `n` of `lengths`: the `top` likeliest tokens after the first `n` of `ids`.

    Natural logarithms, likeliest first. `lengths` ascend, so that each builds on the cache of the
    one before. `whole` is a token whose text is whole characters.

    Raises:
        MissingDependency: xllamacpp is not installed.
        ModelError: llama.cpp cannot load the file, or fails.
    """
    server = _load(path, len(ids) + 1)
    return [_ask(server, path, list(ids[:length]), top, whole) for length in lengths]


def _library() -> Any:
    # Read once, when the library is loaded: see `serving.engines.llamacpp`.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise MissingDependency.extra("xllamacpp", "serve", "llama.cpp") from None  # noqa: S610
    return xllamacpp


def _load(path: Path, context: int) -> Any:
    library = _library()
    p: Any = library.CommonParams()
    p.model.path = str(path)
    p.n_ctx, p.n_parallel = context, 1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    p.cache_ram_mib, p.fit_params, p.warmup, p.no_perf = 0, False, False, True
    p.verbosity = _ERRORS_ONLY
    try:
        return library.Server(p)
    except RuntimeError as error:
        raise ModelError(
            f"llama.cpp cannot load the file that was made ({path.name}): {error}",
            remedy="The log of this conversion has llama.cpp's reason.",
        ) from None


def _ask(server: Any, path: Path, prompt: list[int], top: int, whole: int) -> dict[int, float]:
    request = {
        "prompt": prompt,
        "n_predict": 1,
        "n_probs": top,
        "temperature": 0.0,
        "cache_prompt": True,
        "logit_bias": [[whole, _CERTAIN]],
    }
    replies: list[Any] = []

    def take(reply: Any) -> bool:
        replies.append(reply)
        return False

    reply: Any = server.handle_completions(request, take) or replies[-1]
    if "choices" not in reply:
        raise ModelError(f"llama.cpp could not run {path.name}: {reply}")
    (position,) = reply["choices"][0]["logprobs"]["content"]
    return {int(entry["id"]): float(entry["logprob"]) for entry in position["top_logprobs"]}
