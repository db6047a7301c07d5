"""Downloading the named image sets, each file checked against a known hash."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from repsim.errors import DataError, UsageError, choices
from repsim.files import atomic_path


@dataclass(frozen=True)
class Remote:
    """The address of a set, and the files that have to arrive from there.

    Attributes:
        url: the folder that holds the files, or the archive.
        folder: where the files go, within the data directory and within the archive.
        files: hash of each file, ``sha256:...`` or ``md5:...``.
        archive: name and hash of the tar file that holds the files, if they are not served alone.
    """

    url: str
    folder: str
    files: Mapping[str, str]
    archive: tuple[str, str] | None = None


REMOTES: dict[str, Remote] = {
    "mnist": Remote(
        url="https://ossci-datasets.s3.amazonaws.com/mnist",
        folder="MNIST/raw",
        files={
            f"{name}.gz": f"sha256:{digest}"
            for name, digest in {
                "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",  # noqa: E501
                "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",  # noqa: E501
                "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",  # noqa: E501
                "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",  # noqa: E501
            }.items()
        },
    ),
    "cifar10": Remote(
        url="https://www.cs.toronto.edu/~kriz",
        folder="cifar-10-batches-bin",
        files={
            "data_batch_1.bin": "md5:5dd7e06a14cb22eb9f671a540d1b7c25",
            "data_batch_2.bin": "md5:5ea93a67294ea407fff1d09f752e9692",
            "data_batch_3.bin": "md5:942cd6a4bcdd0dd3c604fbe906cb4421",
            "data_batch_4.bin": "md5:ae636b3ba5c66a11e91e8cb52e771fcb",
            "data_batch_5.bin": "md5:53f37980c15c3d472c316c40844f3f0d",
            "test_batch.bin": "md5:803d5f7f4d78ea53de84dbe85f74fb6d",
        },
        archive=("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),
    ),
}


def fetch(
    name: str,
    data_dir: str | os.PathLike[str],
    *,
    base_url: str | None = None,
    progress: bool = True,
) -> list[Path]:
    """Download what is not yet in place of a named set.

    A file is in place only once it is whole and its hash is right; files that are right already
    are kept.

    Args:
        name: of the set.
        data_dir: where sets are kept.
        base_url: a mirror, the address of the folder that holds the set's files or its archive.
        progress: whether to draw progress bars on standard error.

    Returns:
        The files of the set.

    Raises:
        UsageError: a set that is not for download, or an address other than http.
        DataError: a download that fails or has another hash, or a folder that cannot be written.
    """
    if name not in REMOTES:
        raise UsageError(f"nothing to download for {name!r}; {choices(name, REMOTES)}")
    remote = REMOTES[name]
    url = (base_url or remote.url).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"cannot download from {url!r}; give an address that begins with https://")

    root = Path(data_dir).expanduser()
    hashes = {root / remote.folder / file: known for file, known in remote.files.items()}
    wanted = {path: known for path, known in hashes.items() if not _matches(path, known)}
    try:
        if wanted and remote.archive is not None:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=root) as scratch:
                archive = Path(scratch) / remote.archive[0]
                _download(f"{url}/{archive.name}", archive, remote.archive[1], progress)
                _extract(archive, remote.folder, wanted)
        else:
            for path, known in wanted.items():
                _download(f"{url}/{path.name}", path, known, progress)
    except OSError as error:
        raise DataError(
            f"{root}: cannot be written ({error.strerror or error}); choose another --data-dir"
        ) from None
    return list(hashes)


def _matches(path: Path, known: str) -> bool:
    import pooch

    algorithm, digest = known.split(":")
    return path.is_file() and pooch.file_hash(str(path), alg=algorithm) == digest


def _download(url: str, path: Path, known: str, progress: bool) -> None:
    """Put what is at ``url`` at ``path``, if its hash is the known one."""
    import pooch

    with atomic_path(path) as temporary:
        try:
            with _bar(path.name, progress) as bar:
                pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=30)(
                    url, str(temporary), None
                )
        except OSError as error:  # that of requests, its base class, included
            response = getattr(error, "response", None)
            reason = type(error).__name__ if response is None else f"HTTP {response.status_code}"
            raise DataError(
                f"{url}: cannot be downloaded ({reason}); is the address right and the network up?"
            ) from None
        _check(temporary, known, url)


def _extract(archive: Path, folder: str, wanted: Mapping[Path, str]) -> None:
    """Put the wanted files of a tar file in place; nothing else in it is touched."""
    try:
        with tarfile.open(archive) as tar:
            for path, known in wanted.items():
                stream = tar.extractfile(f"{folder}/{path.name}")
                if stream is None:
                    raise KeyError(path.name)
                with atomic_path(path) as temporary:
                    with open(temporary, "wb") as target:
                        shutil.copyfileobj(stream, target)
                    _check(temporary, known, f"{path.name} in {archive.name}")
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive.name}: not the archive that was expected ({error})") from None


def _check(path: Path, known: str, source: str) -> None:
    if not _matches(path, known):
        raise DataError(
            f"{source}: the download is not the known file ({known[:14]}...) and was discarded; "
            "try again, or another mirror with --base-url"
        )


class _Bar:
    """One line of a progress display, in the terms in which pooch reports."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display, self._task = display, task
        self.total = 0

    def update(self, advance: int) -> None:
        self._display.update(self._task, total=self.total, advance=advance)

    def reset(self) -> None:
        self._display.reset(self._task)

    def close(self) -> None:
        pass


@contextmanager
def _bar(name: str, progress: bool) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as display:
        yield _Bar(display, display.add_task(name, total=None))
