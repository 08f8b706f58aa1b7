from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.training import machine

X86 = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu avx512f {}\nbugs\t\t: bf16\n"


@pytest.mark.parametrize(
    ("cpuinfo", "precision"),
    [
        (X86.format("avx512_bf16"), "16"),
        (X86.format("amx_bf16 amx_tile"), "16"),
        (X86.format("avx512_vnni"), "32"),
        ("processor : 0\nFeatures : fp asimd bf16 i8mm\n", "16"),
        ("processor : 0\nFeatures : fp asimd\n", "32"),
        ("", "32"),
    ],
)
def test_precision_follows_the_processors_flags(
    cpuinfo: str, precision: str, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    assert machine.machine_recommendation(file) == {"precision": precision}


def test_without_such_a_file_it_is_32(tmp_path: Path) -> None:
    assert machine.machine_recommendation(tmp_path / "missing") == {"precision": "32"}


def test_a_graphics_processor_has_bfloat16_whatever_the_processor_has(tmp_path: Path) -> None:
    missing, driver = tmp_path / "missing", tmp_path / "version"
    assert not machine.multiplies_bfloat16(missing, driver)
    driver.write_text("NVRM version: …")
    assert machine.multiplies_bfloat16(missing, driver)


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys, phoundry.training.machine, phoundry.training.planning.estimate, "
        "phoundry.training.spec, phoundry.training.packing, phoundry.training.schedule; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
