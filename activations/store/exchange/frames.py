"""Layers as xarray and pandas have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from repsim.activations.store.exchange.exporting import id_texts
from repsim.activations.store.exchange.libraries import library
from repsim.activations.store.parts import JoinedStore
from repsim.activations.store.reader import ActivationStore
from repsim.layers import select_layers


def to_xarray(
    store: ActivationStore | JoinedStore, layers: str | Sequence[str] | None = None
) -> Any:
    """Layers as an ``xarray.Dataset``, read whole into memory.

    Dimensions are called as the store's axes say, such as ``channel``; an axis on which layers
    differ is called ``LAYER.channel``. ``example`` has the ids as its coordinate, and each target,
    such as ``label``, is one too. ``attrs["provenance"]`` is JSON.

    Raises:
        UsageError: xarray is not installed.
    """
    xarray = library("xarray", "to_xarray")
    chosen = select_layers(store.layers, layers, of=store.name)
    records = {each["layer"]: each for each in store.describe() if each["layer"] in chosen}
    sizes: dict[str, set[int]] = {}
    for record in records.values():
        for axis, size in zip(record["axes"].split(","), record["shape"], strict=True):
            sizes.setdefault(axis, set()).add(size)
    variables = {}
    for layer in chosen:
        axes = records[layer]["axes"].split(",")
        dims = [axis if len(sizes[axis]) == 1 else f"{layer}.{axis}" for axis in axes]
        variables[layer] = (dims, store[layer][:])
    coords: dict[str, Any] = {"example": id_texts(store)}
    for target in store.targets:
        columns = () if target.is_class else (f"{target.name}.column",)
        coords[target.name] = (("example", *columns), target.values.numpy())
    attrs = {"network": store.name, "provenance": json.dumps(store.provenance())}
    return xarray.Dataset(variables, coords=coords, attrs=attrs)


def to_dataframe(store: ActivationStore | JoinedStore, layer: str) -> Any:
    """A layer as a ``pandas.DataFrame``: a row an example, named by its id; a column a feature.

    Layers of more than one axis get columns of a ``MultiIndex`` with the names of the axes.

    Raises:
        UsageError: pandas is not installed, or there is no such layer.
    """
    pandas = library("pandas", "to_dataframe")
    rows = store[layer][:]
    record = next(each for each in store.describe() if each["layer"] == layer)
    names, sizes = record["axes"].split(",")[1:], rows.shape[1:]
    columns = (
        pandas.RangeIndex(sizes[0], name=names[0])
        if len(sizes) == 1
        else pandas.MultiIndex.from_product([range(size) for size in sizes], names=names)
    )
    index = pandas.Index(id_texts(store), name="example")
    return pandas.DataFrame(rows.reshape(len(rows), -1), index=index, columns=columns)
