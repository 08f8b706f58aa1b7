"""What the room offers, what it costs to import, and the tests' own tokenizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import phoundry.data
from phoundry.errors import MissingDependency
from tests.support.tiny_tokenizer import Style, make_tiny_tokenizer


def test_all_that_is_promised_is_there() -> None:
    assert sorted(phoundry.data.__all__) == phoundry.data.__all__
    for name in phoundry.data.__all__:
        found = getattr(phoundry.data, name)
        assert getattr(found, "__name__", name) == name  # a union has none
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = phoundry.data.nonsense  # type: ignore[attr-defined]


def test_checking_rows_loads_no_renderer_and_rendering_no_torch() -> None:
    script = (
        "import sys, phoundry.data\n"
        "assert not {'tokenizers', 'jinja2'} & set(sys.modules)\n"
        "phoundry.data.ChatTokenizer\n"
        "assert 'tokenizers' in sys.modules\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("phoundry.data.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependency, match=r'pip install "phoundry\[serve\]"'):
        _ = phoundry.data.ChatTokenizer


@pytest.mark.parametrize("style", ["phi3", "chatml"])
def test_the_tiny_tokenizer_is_the_same_every_time(style: Style, tmp_path: Path) -> None:
    first = make_tiny_tokenizer(tmp_path / "a", style)
    second = make_tiny_tokenizer(tmp_path / "b", style)
    assert first.vocab_size == second.vocab_size == 384
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == [
        "chat_template.jinja",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
