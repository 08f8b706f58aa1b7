"""What a session may have is what its container allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.flows.session.memory import LEAST, memory_of_machine

WHOLE = memory_of_machine(Path("/nowhere"), Path("/nowhere"))
SOME = LEAST + 1_000_000


@pytest.mark.skipif(WHOLE <= SOME, reason="this machine has less than the limits tried here")
@pytest.mark.parametrize(
    ("own", "files", "found"),
    [
        ("0::/\n", {"memory.max": f"{SOME}\n"}, SOME),
        ("0::/a/b\n", {"memory.max": "max\n", "a/memory.max": f"{SOME}\n"}, SOME),
        ("0::/a/b\n", {"a/memory.max": f"{SOME + 5}\n", "a/b/memory.max": f"{SOME}\n"}, SOME),
        (
            "5:devices:/x\n4:memory:/m\n0::/\n",
            {"memory/m/memory.limit_in_bytes": f"{SOME}\n", "x/memory.max": "7\n"},
            SOME,
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, WHOLE),
        ("0::/gone\n", {}, WHOLE),
        ("nonsense\n", {}, WHOLE),
        ("0::/\n", {"memory.max": "64000000\n"}, LEAST),  # address space is more than memory
    ],
)
def test_the_least_of_the_limits_counts(
    tmp_path: Path, own: str, files: dict[str, str], found: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert memory_of_machine(tmp_path, tmp_path / "own") == found
