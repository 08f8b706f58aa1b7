from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import Conflict, NotFound
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=500))
def test_a_file_is_taken_in_under_its_hash(tmp_path: Path, content: bytes) -> None:
    blobs = Blobs(tmp_path / "blobs")
    for _ in range(2):  # the second time it is there already
        source = tmp_path / "source"
        source.write_bytes(content)
        digest = blobs.put_file(source)
        assert not source.exists()
        assert digest == hashlib.sha256(content).hexdigest()
        assert blobs.path(digest).read_bytes() == content
    assert digest == blobs.put(content)


@pytest.mark.parametrize("from_file", [False, True])
def test_a_blob_that_was_damaged_is_mended_by_the_same_content(
    tmp_path: Path, from_file: bool
) -> None:
    blobs = Blobs(tmp_path / "blobs")
    digest = blobs.put(b"conversations")
    blobs.path(digest).write_bytes(b"c0nversations")
    (tmp_path / "source").write_bytes(b"conversations")
    again = blobs.put_file(tmp_path / "source") if from_file else blobs.put(b"conversations")
    assert again == digest
    assert blobs.path(digest).read_bytes() == b"conversations"


def test_a_damaged_blob_is_never_handed_out_as_whole(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"conversations")
    assert blobs.intact(digest) == blobs.path(digest)
    blobs.path(digest).write_bytes(b"c0nversations")
    with pytest.raises(Conflict, match=r"has changed in .*Create the data asset again"):
        blobs.intact(digest)
