"""The keys that files of flows may have. Others are ignored by Prompt flow and here, silently."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.check.finding import Notes
from phoundry.flows.document import Place


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FLOW = _words("""
    inputs outputs nodes node_variants environment_variables environment additional_includes
    language message_format $schema id name display_name description type path tags
    system_metadata flow_type icon""")
INPUT = _words("type default description is_chat_input is_chat_history enum")
OUTPUT = _words("type reference description is_chat_output evaluation_only")
NODE = _words("""
    name type source inputs activate aggregation reduce connection api provider module comment
    use_variants enable_cache tool variants system_generated
    timeout retry on_error cache foreach""")
FLEX = _words("""
    $schema entry init inputs outputs sample environment environment_variables name display_name
    description type tags path language additional_includes code sample_inputs""")
PROMPTY = _words("""
    $schema name description version authors tags model inputs outputs sample template
    environment format test base additional_includes environment_variables""")
MODEL = _words("api configuration parameters response")


def check_keys(
    notes: Notes, data: Mapping[Any, Any], known: Collection[str], at: Place, what: str, **more: Any
) -> None:
    """A warning for every key of `data`, which stands at `at`, that is none of `known`."""
    for key in data:
        if key not in known:
            near = nearest(str(key), known)
            remedy = f"Did you mean `{near[0]}`?" if near else "Drop it, or keep it as a note."
            message = f"`{key}` is no key of {what}, and is ignored."
            notes.warning("UnknownKey", message, *at, key, remedy=remedy, **more)
