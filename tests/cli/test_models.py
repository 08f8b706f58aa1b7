"""`phoundry model`: the catalog in this process, versions and files on a fake plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.cli.model_views import count, fits, size
from phoundry.specs.catalog import Need
from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi

BASE: dict[str, Any] = {
    "name": "small",
    "parameters": 135_000_000,
    "context_length": 8192,
    "licence": "MIT",
    "source": "hub:a/b",
}


def test_both_kinds_are_found(shell: Shell, api: FakeApi) -> None:
    api.catalog = [BASE, BASE | {"name": "large"}]
    api.model_states = [{"status": "Ready"}]
    assert shell("model", "register", "small-faq", "--job", "job-1").code == 0
    lines = shell("model", "list").out.splitlines()
    assert lines[0] == "Registered"
    assert lines[2].split()[:2] == ["small-faq:1", "Ready"]
    assert lines[4] == "Catalog"
    assert [line.split()[0] for line in lines[6:]] == ["small", "large"]
    both = shell("model", "list", "small", "-o", "json").json
    assert [(each["kind"], each["name"]) for each in both] == [
        ("registered", "small-faq"),
        ("base", "small"),
    ]


def test_one_kind_has_no_title(shell: Shell, api: FakeApi) -> None:
    api.catalog = [BASE]
    out = shell("model", "list", "--catalog").out
    assert out.startswith("NAME")
    assert "135 M" in out
    nothing = shell("model", "list", "--registered")
    assert nothing.out == ""
    assert "phoundry model register" in nothing.err
    assert shell("model", "list", "--registered", "-o", "json").json == []


def test_the_catalog_of_this_machine(shell: Shell) -> None:
    out = shell("model", "list", "llama", "gated").out
    assert out == ""  # a gate is no word of a name
    lines = shell("model", "list", "meta-llama").out.splitlines()
    assert lines[0] == "Catalog"
    assert len(lines) == 4
    assert "(gated)" in lines[2]
    found = shell("model", "list", "phi-3", "--catalog", "-o", "json").json
    assert {each["family"] for each in found} == {"Phi-3"}
    assert all(each["needs"]["train_lora"]["bytes"] > 0 for each in found)


def test_nothing_found_names_what_comes_near(shell: Shell) -> None:
    done = shell("model", "list", "smolm2")
    assert (done.code, done.out) == (0, "")
    assert "Did you mean smollm2-135m-instruct" in done.err
    assert shell("model", "list", "smolm2", "-o", "json").json == []


def test_what_a_base_model_needs(shell: Shell) -> None:
    done = shell("model", "show", "phi-3")
    assert done.code == 0
    lines = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert "https://opensource.org/license/mit" in lines["licence"]
    assert lines["gated"].endswith("no")
    assert "rows of 1,024 tokens" in lines["training, LoRA"]
    assert "GPU extra, which is not here yet" in lines["training, QLoRA"]
    assert "4 conversations of 4,096 tokens" in lines["serving, Q8_0"]
    assert lines["parameters"].endswith("3.82 B")


def test_lengths_change_what_it_needs(shell: Shell) -> None:
    def needs(*words: str) -> Any:
        return shell("model", "show", "qwen3-0.6b", *words, "-o", "json").json["needs"]

    short, long = needs(), needs("--max-seq-length", "4096", "--context-length", "16384")
    assert long["max_seq_length"] == 4096
    assert long["train_lora"]["bytes"] > short["train_lora"]["bytes"]
    assert long["serve_q8_0"]["bytes"] > short["serve_q8_0"]["bytes"]
    refused = shell("model", "show", "qwen3-0.6b", "--context-length", "99999")
    assert refused.code == 1
    assert "takes from 1 to 40,960 tokens" in refused.err


def test_a_model_that_cannot_be_used_says_why(
    shell: Shell, free_ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = shell("model", "show", "gemma3:4b")
    assert done.code == 0
    assert "not usable" in done.out
    assert "mixes text with images" in done.out
    assert "train" not in done.err
    monkeypatch.setenv("PHOUNDRY_PORT", str(free_ports[0]))
    monkeypatch.setenv("PHOUNDRY_GATEWAY_PORT", str(free_ports[1]))
    try:
        asked = ("--endpoint", "none", "--model", "gemma3:4b")
        assert shell("deployment", "create", "blue", *asked).code == 1
    finally:
        shell("down")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smollm-135m-instruct", "Did you mean smollm2-135m-instruct"),
        ("azureml://registries/azureml/models/Phi-9/versions/1", "registries cannot be reached"),
        ("./none.gguf", "There is no file or folder"),
    ],
)
def test_a_name_that_stands_for_nothing(shell: Shell, name: str, said: str) -> None:
    done = shell("model", "show", name)
    assert done.code == 1
    assert said in done.err


def test_an_unknown_name_of_a_control_plane(shell: Shell, api: FakeApi) -> None:
    api.catalog = [BASE | {"name": "large"}]
    done = shell("model", "show", "larg")
    assert done.code == 1
    assert "Did you mean large" in done.err


def test_a_damaged_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00")
    done = shell("model", "show", str(tmp_path / "cut.gguf"))
    assert done.code == 1
    assert "damaged" in done.err


def test_numbers_as_people_read_them() -> None:
    counts = [count(135_000_000), count(999_885_952), count(3_821_079_552)]
    assert counts == ["135 M", "1.00 B", "3.82 B"]
    assert [size(98_000_000), size(7_642_159_104)] == ["98 MB", "7.6 GB"]
    assert fits(Need(bytes=1, fits="yes")) == "yes"
    assert fits(Need(bytes=1, fits="tight")) == "tight"
    assert fits(Need(bytes=1, fits="tight", missing_bytes=10**9)) == "tight (1.0 GB to free)"
    assert fits(Need(bytes=1, fits="no", missing_bytes=5 * 10**8)) == "no (500 MB missing)"


def test_a_gguf_is_exported_once_it_is_made(shell: Shell, api: FakeApi, tmp_path: Path) -> None:
    made = tmp_path / "cache.gguf"
    made.write_bytes(b"GGUF")
    doing = {"message": "Converting to GGUF Q4_0"}
    api.file_states = [
        {"path": None, "preparation": doing},
        {"path": str(made), "quantization": "Q4_0", "bytes": 4},
    ]
    out = tmp_path / "faq.gguf"
    words = ("model", "export", "faq:1", "--out", str(out), "--quantization", "q4_0")
    done = shell(*words, "-o", "json")
    assert done.code == 0
    assert out.read_bytes() == b"GGUF"
    assert (done.json["path"], done.json["quantization"]) == (str(out), "Q4_0")
    again = shell(*words)
    assert again.code == 1
    assert f"There is something at {out} already" in again.err


def test_a_folder_is_exported_whole(shell: Shell, api: FakeApi, tmp_path: Path) -> None:
    made = tmp_path / "checkpoint"
    made.mkdir()
    (made / "config.json").write_text("{}")
    api.file_states = [{"path": str(made), "format": "huggingface"}]
    out = tmp_path / "faq"
    assert shell("model", "export", "faq:1", "--out", str(out)).code == 0
    assert (out / "config.json").read_text() == "{}"


def test_what_an_export_cannot_be(shell: Shell, tmp_path: Path) -> None:
    folder = shell("model", "export", "faq", "--out", str(tmp_path / "f"), "--quantization", "Q8_0")
    assert folder.code == 2
    assert "is to be a folder" in folder.err
    kind = shell(
        "model", "export", "faq", "--out", str(tmp_path / "f.gguf"), "--quantization", "Q8"
    )
    assert kind.code == 1
    assert "Q8_0" in kind.err
