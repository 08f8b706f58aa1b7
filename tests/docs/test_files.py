"""The files that documents point to: links resolve, examples are what the commands take."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from phoundry.data import RefusedRow, check_messages, expand, open_rows, row_digest
from phoundry.errors import InvalidInput
from phoundry.flows import load_flow
from phoundry.flows.connections import wanted_connections
from phoundry.specs import yaml
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.connection_file import read_connection
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.finetune import resolve
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.project import Project
from tests.docs.documents import ROOT, blocks, matches

EXAMPLES = ROOT / "examples"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(document: Path) -> set[str]:
    """The names of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", text)) for text in headings]
    return {text.lower().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", prose)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_example_is_known() -> None:
    there = {path.name for path in EXAMPLES.iterdir()}
    known = {"library.jsonl", "job.yaml", "endpoint.yaml", "deployment.yaml", "connection.yaml"}
    known |= {"phoundry.yaml", "library.csv", "journey.ipynb"}
    assert there == known | {"flow-python"}


def test_the_job_is_one() -> None:
    spec = yaml.load(EXAMPLES / "job.yaml", FineTuningJobSpec)
    parameters, _ = resolve(spec.hyperparameters)
    assert parameters.apply_lora is True
    assert (spec.model, spec.training_data) == ("smollm2-135m-instruct", "azureml:books:1")


def test_the_deployment_belongs_to_the_endpoint() -> None:
    endpoint = yaml.load(EXAMPLES / "endpoint.yaml", EndpointSpec)
    deployment = yaml.load(EXAMPLES / "deployment.yaml", DeploymentSpec)
    assert deployment.endpoint_name == endpoint.name


def test_the_connection_leads_to_the_endpoint_and_has_no_secret_in_it() -> None:
    values = read_connection(EXAMPLES / "connection.yaml")
    spec = ConnectionSpec.model_validate(values)
    endpoint = yaml.load(EXAMPLES / "endpoint.yaml", EndpointSpec)
    assert spec.configs["endpoint"].endswith(f"/endpoints/{endpoint.name}/score")
    assert values["secrets"] == {"key": "<user-input>"}


def test_the_flow_wants_what_the_connection_has() -> None:
    [wanted] = wanted_connections(load_flow(EXAMPLES / "flow-python"))
    values = read_connection(EXAMPLES / "connection.yaml")
    assert wanted.keys == (frozenset({"endpoint"}), frozenset({"key"}))
    assert {"endpoint", "key"} <= values["configs"].keys() | values["secrets"].keys()


def test_the_data_is_good() -> None:
    assert len(check_messages(EXAMPLES / "library.jsonl").rows) == 25


def test_the_table_needs_a_mapping_and_repeats_a_row() -> None:
    files = expand(str(EXAMPLES / "library.csv"))
    with pytest.raises(InvalidInput, match="no columns of a conversation"):
        open_rows(files)
    reader = open_rows(files, mapping={"question": "asked", "answer": "told"})
    rows = [row for row in reader if not isinstance(row, RefusedRow)]
    assert len(rows) == 5
    assert len({row_digest(row) for row in rows}) == 4


def test_projects_that_are_shown_are_projects(tmp_path: Path) -> None:
    """The README's is the example's, written shorter."""
    shown: dict[Path, Project] = {}
    for document in DOCUMENTS:
        for text in re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.M | re.S):
            if text.startswith("- "):
                continue  # nodes of a flow
            (tmp_path / "shown.yaml").write_text(text)
            shown[document] = yaml.load(tmp_path / "shown.yaml", Project)
    told = shown[ROOT / "README.md"].model_dump(mode="json", exclude_unset=True)
    example = yaml.load(EXAMPLES / "phoundry.yaml", Project)
    described = example.model_dump(mode="json", exclude_unset=True)
    del described["endpoint"]["description"]
    assert told == described
    assert ROOT / "docs" / "how-to" / "apply.md" in shown


def test_documents_are_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "# A\n\n```sh\nls\n```\n## B\n```text\nno\n```\n```console\n$ a\nb\nc\n$ d\n```\n"
    )
    shell, console = blocks(path)
    assert (shell.kind, shell.text, shell.section, shell.line) == ("sh", "ls\n", "A", 3)
    assert list(console.exchanges()) == [("a", "b\nc"), ("d", "")]
    assert matches("…", "anything")
    assert matches("b", "▸ Passing\nb")
    assert not matches("b", "b\nc")
