from __future__ import annotations

import pytest
from pydantic import SecretStr

from phoundry.errors import Conflict, Forbidden, NotFound
from phoundry.services import connections
from phoundry.services.context import NOBODY, Context, Principal
from phoundry.specs.connection import ConnectionSpec

CANARY = "canary-7f3a"


def spec(**changes: object) -> ConnectionSpec:
    values = {"name": "faq", "configs": {"region": "here"}, "secrets": {"key": CANARY}}
    return ConnectionSpec.model_validate({**values, **changes})


def test_secrets_are_hidden_everywhere_but_where_a_flow_asks(context: Context) -> None:
    made = connections.create(context, spec())
    shown = [made, connections.show(context, "faq"), *connections.listing(context)]
    for view in shown:
        assert view.secrets == {"key": "***"}
        assert CANARY not in repr(view) + view.model_dump_json()
    values = connections.values(context, "faq")
    assert values.secrets == {"key": CANARY}
    assert CANARY not in repr(values)


def test_no_byte_on_disk_holds_the_secret(context: Context) -> None:
    connections.create(context, spec())
    connections.values(context, "faq")
    files = [path for path in context.home.root.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_a_taken_name_is_refused_unless_replaced(context: Context) -> None:
    connections.create(context, spec())
    with pytest.raises(Conflict, match="phoundry connection update faq"):
        connections.create(context, spec())
    connections.create(context, spec(secrets={"key": SecretStr("new")}), replace=True)
    assert connections.values(context, "faq").secrets == {"key": "new"}


def test_a_deleted_one_is_gone(context: Context) -> None:
    connections.create(context, spec())
    connections.delete(context, "faq")
    with pytest.raises(NotFound):
        connections.values(context, "faq")


def test_the_door_is_asked(context: Context) -> None:
    connections.create(context, spec())
    with pytest.raises(Forbidden, match=r"'nobody' may not do 'connections/read'"):
        connections.listing(context.acting(NOBODY))
    reader = Principal("reader", frozenset({"connections/read"}))
    assert connections.listing(context.acting(reader))
    with pytest.raises(Forbidden, match="listsecrets"):
        connections.values(context.acting(reader), "faq")
