from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import NotFound
from phoundry.store.blobs import Blobs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=500))
def test_bytes_come_back_under_their_hash(tmp_path: Path, content: bytes) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert blobs.path(blobs.put(content)).read_bytes() == content


@pytest.mark.parametrize("digest", ["../../etc/passwd", "A" * 64, "", "0" * 64])
def test_nothing_but_a_known_hash_is_found(tmp_path: Path, digest: str) -> None:
    with pytest.raises(NotFound):
        Blobs(tmp_path).path(digest)
