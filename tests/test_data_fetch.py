"""Downloads from a local server, and the ``repsim data`` commands."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from repsim.data.fetch import REMOTES, Remote, fetch
from repsim.errors import DataError, RepsimError, UsageError


class Server:
    """Serves the files of ``root`` and remembers what was asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                asked.append(self.path)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root = tmp_path / "server"
    root.mkdir()
    running = Server(root)
    yield running
    running.close()


FILES = {
    name: gzip.compress(header + content.tobytes())
    for base in ("train", "t10k")
    for name, header, content in (
        (
            f"{base}-images-idx3-ubyte.gz",
            bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]),
            np.full((2, 28, 28), 9, np.uint8),
        ),
        (
            f"{base}-labels-idx1-ubyte.gz",
            bytes([0, 0, 8, 1, 0, 0, 0, 2]),
            np.array([3, 4], np.uint8),
        ),
    )
}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.fixture
def mnist(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server has a small MNIST, and it is what ``fetch`` expects."""
    for name, content in FILES.items():
        (server.root / name).write_bytes(content)
    hashes = {name: sha256(content) for name, content in FILES.items()}
    monkeypatch.setitem(REMOTES, "mnist", Remote(server.url, "MNIST/raw", hashes))
    return server


BATCHES = {
    f"{name}.bin": bytes([label]) + bytes(3072)
    for label, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"])
}


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def serve_cifar10(server: Server, monkeypatch: pytest.MonkeyPatch, archive: bytes) -> None:
    (server.root / "cifar.tar.gz").write_bytes(archive)
    hashes = {name: md5(content) for name, content in BATCHES.items()}
    remote = Remote(server.url, "cifar-10-batches-bin", hashes, ("cifar.tar.gz", md5(archive)))
    monkeypatch.setitem(REMOTES, "cifar10", remote)


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_fetched_files_are_those_that_load_reads(
    mnist: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from repsim.data import load

    paths = fetch("mnist", tmp_path / "data", progress=False)
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    found = load("mnist", "test", data_dir=tmp_path / "data")
    assert found.labels is not None
    assert found.labels.tolist() == [3, 4]
    assert capfd.readouterr() == ("", "")


def test_only_what_is_absent_or_wrong_is_downloaded(mnist: Server, tmp_path: Path) -> None:
    paths = fetch("mnist", tmp_path / "data", progress=False)
    mnist.asked.clear()
    assert fetch("mnist", tmp_path / "data", progress=False) == paths
    assert mnist.asked == []
    paths[0].unlink()
    paths[1].write_bytes(b"damaged")
    fetch("mnist", tmp_path / "data", progress=False)
    assert mnist.asked == [f"/{paths[0].name}", f"/{paths[1].name}"]
    assert [path.read_bytes() for path in paths] == list(FILES.values())


def test_a_wrong_checksum_leaves_nothing(mnist: Server, tmp_path: Path) -> None:
    (mnist.root / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"train-images.*not the known file.*--base-url"):
        fetch("mnist", tmp_path / "data", progress=False)
    assert files_under(tmp_path / "data") == []


def test_failures_of_the_network_are_one_line(mnist: Server, tmp_path: Path) -> None:
    (mnist.root / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"train-images.*HTTP 404") as caught:
        fetch("mnist", tmp_path / "data", progress=False)
    assert "\n" not in str(caught.value)
    nobody = "http://127.0.0.1:9"
    with pytest.raises(DataError, match="ConnectionError") as caught:
        fetch("mnist", tmp_path / "data", base_url=nobody, progress=False)
    assert "\n" not in str(caught.value)
    assert files_under(tmp_path / "data") == []


def test_a_mirror_replaces_the_address(
    mnist: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = REMOTES["mnist"].files
    monkeypatch.setitem(REMOTES, "mnist", Remote("http://127.0.0.1:9", "MNIST/raw", hashes))
    assert len(fetch("mnist", tmp_path / "data", base_url=f"{mnist.url}/", progress=False)) == 4
    with pytest.raises(UsageError, match="begins with https"):
        fetch("mnist", tmp_path / "data", base_url="file:///tmp")


def test_an_archive_gives_only_the_expected_files(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"cifar-10-batches-bin/{name}": content for name, content in BATCHES.items()}
    extra = {"../outside.txt": b"x", "cifar-10-batches-bin/readme.html": b"y"}
    serve_cifar10(server, monkeypatch, packed(members | extra))
    paths = fetch("cifar10", tmp_path / "data", progress=False)
    assert [path.read_bytes() for path in paths] == list(BATCHES.values())
    assert files_under(tmp_path / "data") == sorted(
        f"cifar-10-batches-bin/{name}" for name in BATCHES
    )
    assert not (tmp_path / "outside.txt").exists()
    server.asked.clear()
    fetch("cifar10", tmp_path / "data", progress=False)
    assert server.asked == []


@pytest.mark.parametrize("change", ["lacking", "altered", "linked", "no archive"])
def test_another_archive_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    members = {f"cifar-10-batches-bin/{name}": content for name, content in BATCHES.items()}
    if change == "altered":
        members["cifar-10-batches-bin/data_batch_1.bin"] = b"altered"
    elif change != "no archive":
        del members["cifar-10-batches-bin/data_batch_1.bin"]
    archive = b"not an archive" if change == "no archive" else packed(members)
    if change == "linked":
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(link)
        archive = buffer.getvalue()
    serve_cifar10(server, monkeypatch, archive)
    with pytest.raises(DataError, match=r"cifar\.tar\.gz"):
        fetch("cifar10", tmp_path / "data", progress=False)
    assert files_under(tmp_path / "data") == []


def test_a_folder_that_cannot_be_written_is_named(mnist: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in the way")
    with pytest.raises(DataError, match=r"data: cannot be written .*--data-dir"):
        fetch("mnist", tmp_path / "data", progress=False)


def test_sets_without_a_download_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'digits'; there is: cifar10, mnist"):
        fetch("digits", tmp_path)


# --- commands


def run(*arguments: str, **environment: str) -> Any:
    from repsim.cli.data import data

    return CliRunner(env=environment).invoke(data, arguments)


def test_the_fetch_command_prints_the_files_on_standard_output(
    mnist: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    result = run("fetch", "mnist", REPSIM_DATA=str(folder))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(folder / "MNIST" / "raw" / name) for name in FILES]
    assert "train-images-idx3-ubyte.gz" in result.stderr  # the progress bars


def test_the_fetch_command_raises_what_the_entry_point_reports(tmp_path: Path) -> None:
    result = run("fetch", "mnits", "--data-dir", str(tmp_path))
    assert isinstance(result.exception, RepsimError)
    assert "did you mean 'mnist'?" in str(result.exception)


def test_the_list_command_says_what_is_there(mnist: Server, tmp_path: Path) -> None:
    fetch("mnist", tmp_path, progress=False)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    lines = run("list", "--data-dir", str(tmp_path)).stdout.splitlines()
    rows = [line.split() for line in lines if line.strip()]
    sets = {row[0]: " ".join(row) for row in rows[2:7]}
    assert list(sets) == ["cifar10", "digits", "mnist", "scenes", "two-digits"]
    assert "1437 train, 360 test" in sets["digits"]
    assert any(row[:3] == ["digits", "noise", "0.0"] for row in rows)
    assert f"missing in {tmp_path}: t10k-labels-idx1-ubyte" in sets["mnist"]
    fetch("mnist", tmp_path, progress=False)
    lines = run("list", "--data-dir", str(tmp_path)).stdout.splitlines()
    assert any(
        line.split()[:1] == ["mnist"] and line.rstrip().endswith(f"present in {tmp_path}")
        for line in lines
    )


@pytest.mark.parametrize("command", [(), ("fetch",), ("list",)])
def test_help_begins_from_an_example(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].startswith("  repsim data")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, repsim.cli.data; print({'torch', 'pooch', 'kornia'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
