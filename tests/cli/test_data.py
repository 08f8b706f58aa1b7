"""`phoundry data`, over the real services in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    file = tmp_path / "faq.jsonl"
    turns = ("user", "assistant")
    rows = [
        {"messages": [{"role": role, "content": f"{role} {row}"} for role in turns]}
        for row in range(10)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_a_length_without_a_model_counts_nothing(shell: Shell) -> None:
    refused = shell("data", "show", "faq", "--max-seq-length", "64")
    assert refused.code == 2
    assert "no model is named" in refused.err


def test_create_list_show(shell: Shell, chats: Path) -> None:
    made = shell("data", "create", "faq", "--source", str(chats), "--test-size", "0.3")
    assert made.code == 0
    assert "Next: phoundry train smollm2-135m-instruct faq:1" in made.err
    listed = shell("data", "list", "-o", "json")
    assert [(each["name"], each["train"]["rows"]) for each in listed.json] == [("faq", 7)]
    assert listed.err == ""
    table = shell("data", "list").out.splitlines()
    assert table[0].split()[:3] == ["NAME", "TRAIN", "TEST"]
    assert table[1].split()[:3] == ["faq:1", "7", "3"]
    shown = shell("data", "show", "faq", "--rows", "2", "-o", "yaml")
    assert shown.out.count("role: assistant") == 2


def test_pairs_are_not_offered_for_training(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"{n}?", "chosen": f"{n}.", "rejected": "No."} for n in range(4)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    made = shell("data", "create", "pairs", "--source", str(file))
    assert "no training on them yet" in made.err
    assert "Next: phoundry data show pairs:1 --rows 3" in made.err
    assert "phoundry train" not in made.err


def test_every_bad_row_is_reported_and_nothing_is_kept(shell: Shell, chats: Path) -> None:
    lines = chats.read_text().splitlines()
    lines[2], lines[6] = '{"messages": []}', "no json"
    chats.write_text("\n".join(lines))
    outcome = shell("data", "create", "faq", "--source", str(chats))
    assert outcome.code == 1
    assert "faq.jsonl:3:" in outcome.err
    assert "faq.jsonl:7:" in outcome.err
    assert shell("data", "list", "-o", "json").json == []


def test_an_empty_list_says_what_to_do(shell: Shell) -> None:
    outcome = shell("data", "list")
    assert (outcome.code, outcome.out) == (0, "")
    assert "phoundry data create" in outcome.err


def test_what_was_found_is_said(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "faq.csv"
    file.write_text("frage,antwort\n" + "".join(f"q{n},a{n}\n" for n in range(9)) + "q1,a1\nq,\n")
    refused = shell("data", "create", "faq", "--path", str(file))
    assert refused.code == 1
    assert "--map question=" in refused.err
    words = ("data", "create", "faq", "--path", str(file), "--map", "question=frage")
    refused = shell(*words, "answer=antwort")
    assert "--skip-bad 1" in refused.err
    made = shell(*words, "answer=antwort", "--skip-bad", "1", "--tags", "a=b")
    assert made.code == 0, made.err
    assert "Read as question-answer (csv; question from 'frage', answer from 'antwort')" in made.err
    assert "11 rows read, 10 kept, 1 bad one skipped, 1 repeat an earlier one" in made.err
    assert "faq.csv:12" in made.out
    quiet = shell(*words, "answer=antwort", "--skip-bad", "1", "-o", "json")
    assert (quiet.err, quiet.json["version"], quiet.json["tags"]) == ("", "1", {"a": "b"})


def test_azures_yaml_names_its_file_from_where_it_is(
    shell: Shell, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chats.parent / "deep"
    folder.mkdir()
    yaml = folder / "data.yaml"
    yaml.write_text(
        "$schema: https://azuremlschemas.azureedge.net/latest/data.schema.json\n"
        "name: books\nversion: 4\ntype: uri_file\npath: ../faq.jsonl\ndescription: of the desk\n"
    )
    made = shell("data", "create", "-f", str(yaml), "--test-size", "0", "-o", "json").json
    assert (made["name"], made["version"], made["description"]) == ("books", "1", "of the desk")
    assert (made["source"], made["train"]["rows"]) == (str(chats), 10)
    assert shell("data", "create", "other", "-f", str(yaml), "-o", "json").json["name"] == "other"
    yaml.write_text("name: books\npath: x\nskip: 3\n")
    assert f"{yaml}:3: unknown key 'skip'" in shell("data", "create", "-f", str(yaml)).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["faq"], "source is missing"),
        ([], "name and source are missing"),
        (["faq", "--source", "nothing.jsonl"], "nothing.jsonl"),
        (["faq", "--source", "{file}", "--format", "xml"], "format"),
        (["faq", "--source", "{file}", "--map", "frage=question=x"], "--map"),
        (["faq", "--source", "{file}", "--test-size", "1"], "test_size"),
        (["faq", "--source", "{file}", "--split", "train"], "is a file"),
    ],
)
def test_what_cannot_be_created_says_why(
    shell: Shell, chats: Path, words: list[str], said: str
) -> None:
    outcome = shell("data", "create", *(word.replace("{file}", str(chats)) for word in words))
    assert outcome.code in (1, 2)
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_export_diff_delete(shell: Shell, chats: Path, tmp_path: Path) -> None:
    shell("data", "create", "faq", "--source", str(chats))
    chats.write_text(chats.read_text().replace("user 3", "user three"))
    shell("data", "create", "faq", "--source", str(chats))
    out = tmp_path / "out.jsonl"
    assert shell("data", "export", "faq:2", "--split", "train", "--out", str(out)).code == 0
    assert len(out.read_text().splitlines()) == 8
    assert shell("data", "export", "faq", "--split", "tset").code == 2
    diff = shell("data", "diff", "faq:1", "faq:2")
    assert "faq:1 → faq:2: 1 rows added, 1 removed, 9 kept" in diff.out
    assert "- user: user 3" in diff.out
    assert "+ user: user three" in diff.out
    assert shell("data", "diff", "faq:1", "faq:2", "-o", "json").json["added"] == 1
    assert shell("data", "delete", "faq:1").code == 2  # nobody there to be asked
    assert shell("data", "delete", "faq:1", stdin="n\n", terminal=True).code == 1
    assert shell("data", "delete", "faq:1", "-y", "-o", "json").json == {"deleted": ["faq:1"]}
    assert shell("data", "show", "faq:1").code == 1


def test_pairs_and_tool_calls_are_printed(shell: Shell, tmp_path: Path) -> None:
    function = {"name": "look_up", "arguments": '{"book": 1}'}
    calls = [{"id": "1", "type": "function", "function": function}]
    turns = [
        {"role": "user", "content": "Is it there?"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "yes", "tool_call_id": "1"},
        {"role": "assistant", "content": "It is.", "weight": 0},
        {"role": "assistant", "content": "Yes!"},
    ]
    file = tmp_path / "tools.jsonl"
    file.write_text(json.dumps({"messages": turns}) + "\n")
    assert shell("data", "create", "tools", "--source", str(file), "--test-size", "0").code == 0
    shown = shell("data", "show", "tools", "--rows", "1").out
    assert 'assistant calls look_up({"book": 1})' in shown
    file.write_text('{"prompt": "q", "chosen": "yes", "rejected": "no"}\n')
    shell("data", "create", "pairs", "--source", str(file), "--test-size", "0")
    shown = shell("data", "show", "pairs", "--rows", "1").out
    assert "– chosen –\nassistant: yes\n– rejected –\nassistant: no" in shown


def test_marks_of_what_is_learnt() -> None:
    from phoundry.cli.data_tokens import marked
    from phoundry.specs.data import Token

    texts = [("a", False), ("b", True), ("\n", True), ("c\x1b[2J", True), ("d", False)]
    tokens = [Token(id=0, text=text, learnt=learnt) for text, learnt in texts]
    assert marked(tokens, colour=False) == "a‹b\nc␛[2J›d"
    coloured_text = marked(tokens, colour=True)
    assert coloured_text == "a\x1b[1;32mb\x1b[0m\n\x1b[1;32mc␛[2J\x1b[0md"


def test_what_becomes_of_rows_that_are_too_long_is_said_for_every_policy() -> None:
    from phoundry.cli.data_tokens import summary
    from phoundry.specs.data import Loss, TokenReport

    losses = {
        "drop_turns": Loss(shortened=3, dropped=2, cut=1_234),
        "truncate": Loss(shortened=5, cut=800),
        "error": Loss(refused=5),
    }
    found = TokenReport(asset="faq:1", model="m", split="train", limit=512, too_long=5)
    said = "\n".join(summary(found.model_copy(update={"losses": losses})))
    assert "3 lose whole trailing turns, 2 are left out: 1,234 tokens unseen (the default)" in said
    assert "5 lose their end, 0 are left out: 800 tokens unseen" in said
    assert "error       the training is refused" in said
    assert "All fit: 512" in "\n".join(summary(found.model_copy(update={"too_long": 0})))
