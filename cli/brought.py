"""Networks from elsewhere on the command line: their names, and the harvests that are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from repsim.cli.harvests import Job
from repsim.cli.reporting import bar
from repsim.cli.stores import STORES
from repsim.errors import UsageError

#: Names of files of weights that say nothing: their folder names the network.
_PLAIN = ("checkpoint", "last", "model", "pytorch_model", "weights")


def name_of(reference: str, weights: str | None) -> str:
    """The usual name of a network: of its weights or its folder, so that two checkpoints differ.

    Args:
        reference: the network, as ``load_network`` takes it.
        weights: its file, or ``FILE:KEY``; None without.
    """
    from repsim.networks.checkpoint import split_reference

    if weights is None:
        found = reference.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    else:
        file, key = split_reference(weights)
        folder = file.absolute().parent.name if file.stem in _PLAIN else ""
        found = "-".join(filter(None, (folder, file.stem, key)))
    plain = re.sub(r"[^\w.-]+", "-", found).strip("-.")
    return plain if re.match(r"\w", plain) else found


def jobs_of_model(
    reference: str,
    data: str | None,
    splits: tuple[str, ...],
    data_dir: Path | None,
    image_size: str,
    batch_size: int,
    seed: int,
    *,
    model_args: str,
    weights: str | None,
    name: str | None,
    normalise: str,
    channels: int | None,
    tokenizer: str | None,
    max_length: int,
) -> list[Job]:
    """A harvest of each part of a data set by a network from elsewhere.

    Raises:
        UsageError: no data set, texts without a tokenizer, or a name that cannot be.
    """
    from repsim.activations.harvesting.provenance import data_provenance
    from repsim.cli.examples import image_loaders
    from repsim.cli.names import check_name
    from repsim.data import find_set
    from repsim.data.size import size_record
    from repsim.data.splits import Part
    from repsim.data.text import SUFFIXES, TextLoader, load_texts
    from repsim.networks.external import load_network, parse_arguments

    if data is None:
        raise UsageError("--model needs --data: an image set, or a file of texts")
    arguments = parse_arguments(model_args)
    called = check_name(name or name_of(reference, weights))
    loaders: list[Any]
    if data.endswith(SUFFIXES):
        folder, tokens = _tokenizer(tokenizer, reference)
        sets: list[Any] = [load_texts(data, split) for split in splits or ("all",)]
        loaders = [TextLoader(each, tokens, batch_size, max_length) for each in sets]
        shown: dict[str, Any] = {"tokenizer": folder, "max_length": max_length}
    else:
        sets, loaders = image_loaders(
            data, splits or ("test",), data_dir, batch_size, image_size, normalise, channels
        )
        size = size_record(loaders[0].size)
        shown = {"image_size": size, "normalise": normalise, "channels": channels}
    with bar(f"load {called}"):
        network = load_network(reference, arguments=arguments, weights=weights, seed=seed)
    if find_set(data) is None:
        shown["data_path"] = data
    provenance = {"network": called, "model": reference, "model_args": arguments, **shown}
    if weights is not None:
        provenance |= {"weights": _record(weights), "weights_path": weights}
    return [
        Job(
            called,
            loader.slug,
            network,
            loader,
            STORES / f"{called}.{loader.slug}.h5",
            {**data_provenance(each), **provenance},
            Part.of(each),
        )
        for each, loader in zip(sets, loaders, strict=True)
    ]


def _tokenizer(named: str | None, reference: str) -> tuple[str, Any]:
    """The folder of the tokenizer of a network, and the tokenizer.

    Raises:
        UsageError: none is named, and the network has none of its own.
    """
    from repsim.data.text import load_tokenizer

    source, _, own = reference.partition(":")
    if named is None and source != "transformers":
        raise UsageError("texts need the --tokenizer of the network")
    folder = named or own
    return folder, load_tokenizer(folder)


def _record(weights: str) -> dict[str, str]:
    """The record of ``FILE`` or ``FILE:KEY``: the name of the file, its digest, its key."""
    from repsim.files import sha256
    from repsim.networks.checkpoint import split_reference

    file, key = split_reference(weights)
    return {"file": file.name, "sha256": sha256(file), **({"key": key} if key else {})}
