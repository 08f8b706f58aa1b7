"""Rows of data files, and lines of several sources."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import NotFound
from phoundry.flows.batch.errors import EmptyInputsData, InputMappingError, InvalidUserData
from phoundry.flows.batch.join import joined
from phoundry.flows.batch.sources import rows

reusing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=4,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def jsonl(path: Path, items: list[Any]) -> Path:
    return write(path, "".join(json.dumps(item) + "\n" for item in items))


@reusing
@given(st.lists(st.dictionaries(st.text(max_size=5), values, max_size=3), max_size=4))
def test_jsonl_comes_back_as_it_was(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    assert list(rows(jsonl(tmp_path / "d.jsonl", items))) == items


@reusing
@given(st.lists(st.tuples(st.text(), st.text()).filter(any), min_size=1))
def test_cells_of_a_table_stay_text(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    # A bare carriage return in a cell is a line end to csv's reader unless it is quoted.
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *cells])
    path = tmp_path / "t.csv"
    path.write_bytes(stream.getvalue().encode())
    assert [tuple(row.values()) for row in rows(path)] == cells


@pytest.mark.parametrize(  # as Prompt flow 1.18.5 was seen to read them
    ("name", "text", "expected"),
    [
        ("d.csv", "a,a,b\n1,2,3\n", [{"a": "1", "a.1": "2", "b": "3"}]),
        ("d.csv", "a,a,a.1,a\n1,2,3,4\n", [{"a": "1", "a.2": "2", "a.1": "3", "a.3": "4"}]),
        ("d.tsv", "\t\ta\n1\t2\t3\n", [{"Unnamed: 0": "1", "Unnamed: 1": "2", "a": "3"}]),
        ("d.json", '{"a": [1, 2], "b": [3, 4]}', [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
        ("d.json", '{"a": [1, 2], "b": 3}', [{"a": 1, "b": 3}, {"a": 2, "b": 3}]),
        ("d.json", '{"a": ["x"], "b": [{"k": 1}]}', [{"a": "x", "b": {"k": 1}}]),
        ("d.json", '{"a": [], "b": []}', []),
    ],
)
def test_columns_without_a_name_of_their_own_and_columns_of_json(
    tmp_path: Path, name: str, text: str, expected: list[dict[str, Any]]
) -> None:
    assert list(rows(write(tmp_path / name, text))) == expected


def test_one_object_is_one_row(tmp_path: Path) -> None:
    for item in ({"a": 1}, {"a": [1, 2], "b": [3]}, {"a": [1], "b": {"k": 2}}):
        assert list(rows(write(tmp_path / "d.json", json.dumps(item)))) == [item]


def test_every_faulty_line_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", '{"a": 1}\nnope\n\n[1]\n{"a": 2\n')
    with pytest.raises(InvalidUserData) as caught:
        list(rows(path))
    told = str(caught.value)
    assert all(place in told for place in ("d.jsonl:2", "d.jsonl:4", "d.jsonl:5"))
    assert "3 faults" in told
    with pytest.raises(InvalidUserData, match=r"t\.csv:3: 3 cells under 2"):
        list(rows(write(tmp_path / "t.csv", "a,b\n1,2\n1,2,3\n")))
    with pytest.raises(InvalidUserData, match="item 2"):
        list(rows(write(tmp_path / "l.json", "[{}, 1]")))


def test_other_forms(tmp_path: Path) -> None:
    assert list(rows(write(tmp_path / "l.json", '[{"a": 1}, {"a": 2}]'))) == [{"a": 1}, {"a": 2}]
    assert list(rows(write(tmp_path / "t.tsv", "\ufeffa\tb\n01\t\n"))) == [{"a": "01", "b": ""}]
    short = write(tmp_path / "short.csv", "a,b\n1\n\n2,3\n")
    assert list(rows(short)) == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]
    assert list(rows(write(tmp_path / "b.jsonl", '\ufeff{"a": 1}'))) == [{"a": 1}]
    folder = tmp_path / "many"
    folder.mkdir()
    jsonl(folder / "2.jsonl", [{"a": 2}])
    jsonl(folder / "1.jsonl", [{"a": 1}])
    write(folder / ".hidden", "no data")
    assert list(rows(folder)) == [{"a": 1}, {"a": 2}]
    with pytest.raises(NotFound, match=r"gone\.jsonl"):
        list(rows(tmp_path / "gone.jsonl"))


def test_images_are_found_beside_the_data(tmp_path: Path) -> None:
    image = {"data:image/png;path": "pic.png"}
    url = {"data:image/png;url": "https://example.com/a.png"}
    path = jsonl(tmp_path / "d.jsonl", [{"image": image, "list": [image, url]}])
    (row,) = rows(path)
    located = {"data:image/png;path": str(tmp_path / "pic.png")}
    assert row == {"image": located, "list": [located, url]}


def test_rows_of_the_same_line_number_belong_together(tmp_path: Path) -> None:
    data = jsonl(tmp_path / "d.jsonl", [{"q": n} for n in range(4)])
    outputs = jsonl(tmp_path / "o.jsonl", [{"line_number": n, "a": n} for n in (0, 2)])
    found = list(joined({"data": data, "run.outputs": outputs}))
    assert [(number, line["data"]["q"]) for number, line in found] == [(0, 0), (2, 2)]


@reusing
@given(st.lists(st.integers(0, 12), unique=True, min_size=1), st.integers(1, 12))
def test_a_join_is_what_a_table_would_give(tmp_path: Path, wild: list[int], count: int) -> None:
    numbered = jsonl(tmp_path / "o.jsonl", [{"line_number": n, "v": n} for n in wild])
    plain = jsonl(tmp_path / "d.jsonl", [{"q": n} for n in range(count)])
    found = list(joined({"data": plain, "run.outputs": numbered}))
    both = sorted(set(wild) & set(range(count)))
    assert [number for number, _ in found] == both
    assert [line["data"]["q"] for _, line in found] == both
    assert [line["run.outputs"]["v"] for _, line in found] == both


def test_sources_that_do_not_go_together(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "1.jsonl", [{"a": 1}])
    two = jsonl(tmp_path / "2.jsonl", [{"a": 1}, {"a": 2}])
    none = write(tmp_path / "0.jsonl", "")
    with pytest.raises(InputMappingError, match=r"\{'x': 1, 'y': 2\}"):
        list(joined({"x": one, "y": two}))
    with pytest.raises(InputMappingError, match="Input from key 'y' is an empty list"):
        list(joined({"x": one, "y": none}))
    with pytest.raises(EmptyInputsData, match="Couldn't find any inputs data"):
        list(joined({"x": none}))
