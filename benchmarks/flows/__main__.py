"""Flows here beside Prompt flow 1.18.5: from cold, node by node, in batches and behind an address.

    python -m benchmarks.flows [--parts cold,nodes,batch,serve] [--quick] [--no-peer]

Prompt flow is installed into an environment of its own, once. Both sides run the same folders, take
turns, and medians count. The last line is JSON; `ratio_*` says how many times better ours is, but
for `ratio_batch_memory`, which is our memory divided by theirs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.flows.parts import PARTS, Figures, Size
from benchmarks.flows.sides import make_sides
from phoundry.settings import Home

QUICK = Size(rounds=3, lines=2_000, theirs=100, seconds=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds and lines")
    parser.add_argument("--no-peer", action="store_true", help="go without Prompt flow")
    parser.add_argument("--cache", type=Path, help="for what is fetched, and kept")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(
            f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}"
        )
    cache = (options.cache or Home.current().cache / "benchmarks").resolve()
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="flows-", ignore_cleanup_errors=True) as folder:
        sides = make_sides(Path(folder), cache, not options.no_peer)
        for part in parts:
            figures |= PARTS[part](sides, QUICK if options.quick else Size())
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
