"""Compressed copies of whole stores."""

from __future__ import annotations

from pathlib import Path

import h5py

from repsim.activations.store.blocks import raw_rows, write_rows
from repsim.activations.store.hdf5_files import open_hdf5
from repsim.errors import StoreError
from repsim.files import publish

#: The filters that h5py brings along everywhere.
COMPRESSIONS = ("none", "lzf", "gzip")


def compress(file: h5py.File, path: Path, compression: str) -> None:
    """Write a compressed copy of a whole store to ``path``.

    Raises:
        StoreError: the disk has no room for it; the whole store stays where it was.
    """
    temporary = compressing_path(path)
    temporary.unlink(missing_ok=True)  # of one that was killed
    try:
        with open_hdf5(temporary, "x") as copy:
            _copy_compressed(file, copy, compression)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be compressed ({error}); {file.filename} is whole: make room beside it "
            "and pass --resume, or leave out the compression"
        ) from error
    publish(temporary, path)


def compressing_path(path: Path) -> Path:
    """The file while it is written; the same every time, so that a killed one leaves no litter."""
    return Path(f"{path}.compressing")


def _copy_compressed(file: h5py.File, copy: h5py.File, compression: str) -> None:
    _copy_attributes(file, copy)
    for name in file:
        if name != "layers":
            _copy_whole(file, copy, name)
    group = copy.create_group("layers")
    for name, dataset in file["layers"].items():
        options = dataset.id.get_create_plist()
        options.set_alloc_time(h5py.h5d.ALLOC_TIME_INCR)
        options.set_obj_track_times(False)
        options.set_shuffle()
        if compression == "gzip":
            options.set_deflate(4)
        else:
            options.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL)
        kind, space = dataset.id.get_type(), h5py.h5s.create_simple(dataset.shape)
        h5py.h5d.create(group.id, name.encode(), kind, space, options)
        for key, value in dataset.attrs.items():
            group[name].attrs[key] = value
        for start in range(0, len(dataset), dataset.chunks[0]):
            stop = min(start + dataset.chunks[0], len(dataset))
            write_rows(group[name], start, raw_rows(dataset, start, stop))


def _copy_whole(source: h5py.Group, target: h5py.Group, name: str) -> None:
    """Copy an item uncompressed.

    Item by item: HDF5's own copy also depends on what the process did to the source before.
    """
    item = source[name]
    if isinstance(item, h5py.Group):
        group = target.create_group(name)
        for each in item:
            _copy_whole(item, group, each)
    else:
        kind, space, options = item.id.get_type(), item.id.get_space(), item.id.get_create_plist()
        options.set_obj_track_times(False)
        h5py.h5d.create(target.id, name.encode(), kind, space, options)
        target[name][()] = item[()]
    _copy_attributes(item, target[name])


def _copy_attributes(source: h5py.Group | h5py.Dataset, target: h5py.Group | h5py.Dataset) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
