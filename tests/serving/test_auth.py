"""Whatever stands in the headers, only the key itself opens an endpoint."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from phoundry.errors import Unauthenticated
from phoundry.serving.gateway.auth import KeyIndex, hash_key, presented_key

KEY = "the-one-key"
KEYS = KeyIndex({"faq": [hash_key(KEY)]})
NAMES = st.sampled_from([b"authorization", b"api-key", b"x-other"])


def opened(headers: list[tuple[bytes, bytes]]) -> frozenset[str]:
    try:
        return KEYS.endpoints_of(presented_key({"headers": headers}))
    except Unauthenticated:
        return frozenset()


@given(st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=4))
@example([(b"authorization", b"Bearer")])
@example([(b"authorization", b"Bearer the-one-key x")])
@example([(b"authorization", b"Basic the-one-key")])
@example([(b"authorization", b"Bearer the-one-kez")])
@example([(b"api-key", b"the-one-key\x00")])
@example([(b"x-other", b"the-one-key")])
def test_no_other_header_opens(headers: list[tuple[bytes, bytes]]) -> None:
    assert opened(headers) == frozenset()


def test_the_key_opens_in_both_headers() -> None:
    for header in ((b"authorization", b"bearer the-one-key"), (b"api-key", b"the-one-key")):
        assert opened([header]) == {"faq"}
