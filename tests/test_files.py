"""Digests of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsim import files
from repsim.files import file_sha256, sha256


def test_a_file_that_has_not_changed_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    read: list[Path] = []

    def counted(given: Path) -> str:
        read.append(given)
        return sha256(given)

    monkeypatch.setattr(files, "sha256", counted)
    assert file_sha256(path) == file_sha256(str(path)) == sha256(b"one")
    assert len(read) == 1
    path.write_bytes(b"other")
    assert file_sha256(path) == sha256(b"other")
    replaced = tmp_path / "new.bin"
    replaced.write_bytes(b"again")
    replaced.replace(path)
    assert file_sha256(path) == sha256(b"again")
