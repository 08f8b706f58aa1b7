from __future__ import annotations

import pytest
from pydantic import SecretStr

from phoundry.errors import Conflict, Forbidden, NotFound
from phoundry.services import connections, endpoints
from phoundry.services.context import NOBODY, Context, Principal
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.endpoint import EndpointSpec

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


@pytest.mark.parametrize("name", ["bot", "endpoint:bot"])
@pytest.mark.parametrize("mode", ["key", "aml_token"])
def test_an_endpoint_stands_for_a_connection(context: Context, name: str, mode: str) -> None:
    spec_of_it = EndpointSpec.model_validate({"name": "bot", "auth_mode": mode})
    made = endpoints.create(context, spec_of_it)
    values = connections.resolve(context, name)
    assert values.configs == {"api_base": made.openai_base_url, "model": "bot"}
    if mode == "key":
        assert values.secrets["key"] == endpoints.keys(context, "bot").primaryKey
        endpoints.regenerate_key(context, "bot", "primary")
        renewed = connections.resolve(context, name).secrets["key"]
        assert renewed == endpoints.keys(context, "bot").primaryKey  # none was copied
    assert len(values.secrets["key"]) > 20
    assert connections.listing(context) == []


def test_a_connection_goes_before_an_endpoint_of_its_name(context: Context) -> None:
    endpoints.create(context, EndpointSpec(name="faq-bot"))
    connections.create(context, spec(name="faq-bot"))
    assert connections.resolve(context, "faq-bot").secrets == {"key": CANARY}
    assert connections.resolve(context, "endpoint:faq-bot").configs["model"] == "faq-bot"


def test_reading_an_endpoint_s_key_needs_its_permission(context: Context) -> None:
    endpoints.create(context, EndpointSpec(name="faq-bot"))
    reader = Principal("reader", frozenset({"connections/listsecrets", "endpoints/read"}))
    with pytest.raises(Forbidden, match="endpoints/listkeys"):
        connections.resolve(context.acting(reader), "faq-bot")
