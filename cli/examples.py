"""The image sets that stores are opened for, and stores compared with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.errors import StoreError

if TYPE_CHECKING:
    from repsim.activations import ActivationStore
    from repsim.activations.harvesting.loaders import ImageLoader
    from repsim.data import ImageSet
    from repsim.data.filelist import FileList


@dataclass(frozen=True)
class Shown:
    """A part of an image set at a size.

    Attributes:
        data: the set as it was named.
        split: the part.
        data_dir: folder of the image sets; None for the usual one.
        image_size: height and width, as for ``repsim.data.load``.
        images: where they were read for the sake of the name.
        slug: the part of a store's file name that says which images it shows.
    """

    data: str
    split: str
    data_dir: Path | None
    image_size: str
    images: ImageSet | None = field(repr=False)
    slug: str

    @classmethod
    def find(cls, data: str, split: str, data_dir: Path | None, image_size: str) -> Shown:
        """The part of a set; a whole split of a named set need not be read to be named."""
        from repsim.data import Split, find_set, load
        from repsim.data.imageset import slug

        parsed, named = Split.parse(split), find_set(data)
        if named is not None and str(parsed) == parsed.base in named.sizes:
            size = named.size(image_size)
            name = slug(named.name, split, None if size == named.default_size else size)
            return cls(data, split, data_dir, image_size, None, name)
        images = load(data, split, data_dir=data_dir, image_size=image_size)
        return cls(data, split, data_dir, image_size, images, images.slug)

    @property
    def source(self) -> str:
        """The whole path, or the name of a named set, and the split."""
        from repsim.data import find_set

        named = find_set(self.data) is not None
        return f"{self.data if named else Path(self.data).expanduser().resolve()} {self.split}"

    def files(self) -> FileList | None:
        """Names and sizes of the files of the set; None where there are none, or one is absent."""
        from repsim.data import Split, find_set, folder
        from repsim.data.catalog import default_data_dir
        from repsim.data.filelist import FileList

        named, split = find_set(self.data), Split.parse(self.split)
        if named is not None:
            root = default_data_dir() if self.data_dir is None else self.data_dir
            return named.files(split, root.expanduser()) if split.base in named.sizes else None
        path = Path(self.data).expanduser()
        if path.is_dir():
            return folder.find(split, path, None).files
        return FileList.of([path], path.parent) if path.is_file() else None


def check_shown(store: ActivationStore, shown: Shown, *, verify: bool) -> str:
    """Compare the store of a run with the images that it is opened for.

    By digests of their inputs where they are in memory, or with ``verify``; else by the list and
    the sizes of their files, and where these differ, by digests too.

    Returns:
        A remark where nothing could be compared; otherwise an empty text.

    Raises:
        StoreError: it was harvested from other images.
    """
    from repsim.activations.harvesting.loaders import ImageLoader
    from repsim.activations.harvesting.verification import check_examples
    from repsim.data import load

    if shown.images is None and not verify:
        same = _same_files(store, shown)
        if same is not False:
            return "" if same else _uncompared(store, shown)
    images = shown.images or load(
        shown.data, shown.split, data_dir=shown.data_dir, image_size=shown.image_size
    )
    check_examples(store, ImageLoader(images, 1024), shown.source, strict=verify)
    return ""


def check_named(
    store: ActivationStore, data: str, split: str, data_dir: Path | None, *, verify: bool
) -> str:
    """Compare the store of a network that is no run with a data set, as ``check_shown`` does.

    Texts are compared by their file alone: their tokens are those of a network.

    Returns:
        A remark where nothing could be compared; otherwise an empty text.

    Raises:
        StoreError: it was harvested from other examples, or does not say how they were prepared.
    """
    from repsim.activations.harvesting.verification import check_examples, other_examples
    from repsim.data.text import SUFFIXES

    shown, about = Shown(data, split, data_dir, "", None, ""), store.provenance()
    same = _same_files(store, shown)
    if data.endswith(SUFFIXES):
        if same is False:
            raise other_examples(store, shown.source, "the size of the file differs")
        return "" if same else _uncompared(store, shown)
    if not verify and same is not False:
        return "" if same else _uncompared(store, shown)
    if not _is_prepared(store):
        raise StoreError(
            f"{store.path.absolute()} does not say how its images were prepared, so that they "
            "cannot be compared; only stores of repsim harvest do"
        )
    given = str(about.get("image_size") or ""), str(about.get("normalise") or "half")
    _, loaders = image_loaders(data, (split,), data_dir, 1024, *given, about.get("channels"))
    check_examples(store, loaders[0], shown.source, strict=verify)
    return ""


def _is_prepared(store: ActivationStore) -> bool:
    """True if a store says how its images were prepared, so that they can be compared."""
    about = store.provenance()
    return "normalise" in about or "run" in about


def _uncompared(store: ActivationStore, shown: Shown) -> str:
    """The remark on a store that is known by its name alone.

    Empty for a named set whose files are unknown to the store, or that has none: its name stands
    for its images.
    """
    from repsim.data import find_set
    from repsim.data.text import SUFFIXES

    listed, found = store.provenance().get("files") is not None, shown.files() is not None
    if find_set(shown.data) is not None and not listed:
        return ""
    verified = _is_prepared(store) and store.inputs is not None
    verified &= not shown.data.endswith(SUFFIXES)
    path, remedy = store.path.absolute(), _remedy(found, verified)
    reason = f"{path} does not list its files" if found else "it is not there"
    return f"{shown.source} was not compared with {path}, found by its name: {reason}; {remedy}"


def _remedy(found: bool, verified: bool) -> str:
    """The advice to compare a set with a store, by digests where the store can be verified."""
    if found:
        return "pass --verify" if verified else "harvest it again"
    back = "put it back, or say where it is (--data, --data-dir)"
    return f"{back}, with --verify" if verified else back


def _same_files(store: ActivationStore, shown: Shown) -> bool | None:
    """True if a store was harvested from files of these names and sizes; None where unknown."""
    recorded = store.provenance().get("files")
    files = None if recorded is None else shown.files()
    return None if files is None else files.record() == recorded


def image_loaders(
    data: str,
    splits: tuple[str, ...],
    data_dir: Path | None,
    batch_size: int,
    image_size: str,
    normalise: str,
    channels: int | None,
) -> tuple[list[Any], list[ImageLoader]]:
    """Image sets and their loaders, at a height and width."""
    from repsim.activations.harvesting.loaders import ImageLoader
    from repsim.data import find_set, load
    from repsim.data.preprocessing import Preprocessing
    from repsim.data.size import parse_size

    size, named = parse_size(image_size), find_set(data)
    read, stretched = size, None
    if named is not None and isinstance(size, tuple) and max(size) > max(named.default_size):
        # The named sets have small images, which each batch can stretch; files may be large.
        read, stretched = None, size
    prepared = Preprocessing.parse(normalise, size=stretched, channels=channels)
    sets = [load(data, split, data_dir=data_dir, image_size=read) for split in splits]
    return sets, [ImageLoader(each, batch_size, prepared) for each in sets]
