"""Whatever stands in the headers, only the key itself opens an endpoint; tokens until they end."""

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


TOKEN = "the-one-token"
ENDS = 1_790_000_000


def index_at(moment: float) -> KeyIndex:
    tokens = {"books": {hash_key(TOKEN): ENDS}}
    return KeyIndex({"faq": [hash_key(KEY)]}, tokens, clock=lambda: moment)


@given(st.floats(-1e6, 1e6))
@example(0.0)
@example(-0.001)
def test_a_token_opens_until_its_second(before: float) -> None:
    index = index_at(ENDS - before)
    assert index.endpoints_of(TOKEN.encode()) == ({"books"} if ENDS - before < ENDS else set())
    assert index.endpoints_of(KEY.encode()) == {"faq"}


def test_why_something_opens_nothing() -> None:
    late = index_at(ENDS)
    assert "expired" in late.refusal(TOKEN.encode()).message
    assert "phoundry endpoint token books" in str(late.refusal(TOKEN.encode()))
    assert "expired" not in str(late.refusal(b"another"))
    assert "aml_token" in str(late.refusal(b"another"))


@given(
    st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from("1234")), max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from("1234")), max_size=3),
)
def test_what_is_revoked_is_what_opened_and_opens_no_more(
    old: dict[str, set[str]], new: dict[str, set[str]]
) -> None:
    before, after = (
        KeyIndex({name: [hash_key(key) for key in keys] for name, keys in of.items()})
        for of in (old, new)
    )
    revoked = after.revoked_since(before)
    for key in "1234":
        lost = before.endpoints_of(key.encode()) - after.endpoints_of(key.encode())
        assert revoked.get(bytes.fromhex(hash_key(key)), frozenset()) == lost


def test_a_token_that_goes_is_not_revoked() -> None:
    assert KeyIndex({}).revoked_since(index_at(0)) == {bytes.fromhex(hash_key(KEY)): {"faq"}}
