"""Networks from elsewhere on the command line: their names, and the harvests that are asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.cli.harvests import Job
from repsim.cli.reporting import bar
from repsim.cli.stores import STORES
from repsim.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

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


@dataclass(frozen=True)
class Asked:
    """A network from elsewhere that is to be harvested.

    Attributes:
        reference: as ``load_network`` takes it.
        name: what it is called.
        arguments: what it is made with.
        weights: its file, or ``FILE:KEY``; None without.
        seed: of the network, and of the directions that ``project`` takes.
        head: address of its linear head, where it was named.
        normalise: preparation of images.
        channels: of images, where they are to be repeated.
        tokenizer: folder of the tokenizer, for texts; None for that of the network.
        max_length: tokens of each text.
        before: the record of an earlier harvest, whose weights it must have.
    """

    reference: str
    name: str
    arguments: Mapping[str, Any]
    weights: str | None
    seed: int
    head: str | None
    normalise: str = "half"
    channels: int | None = None
    tokenizer: str | None = None
    max_length: int = 128
    before: Mapping[str, Any] | None = None

    @classmethod
    def of_options(
        cls,
        reference: str,
        seed: int,
        head: str | None,
        *,
        model_args: str,
        weights: str | None,
        name: str | None,
        **shown: Any,
    ) -> Asked:
        """The network of the options of a command.

        Raises:
            UsageError: arguments that cannot be read, or a name that cannot be.
        """
        from repsim.cli.names import check_name
        from repsim.networks.external import parse_arguments

        called = check_name(name or name_of(reference, weights))
        return cls(reference, called, parse_arguments(model_args), weights, seed, head, **shown)

    @classmethod
    def of_record(cls, label: str, record: Mapping[str, Any]) -> Asked:
        """The network of an earlier harvest, prepared for as then.

        Raises:
            UsageError: the store was imported, or does not record where the weights are.
        """
        from repsim.activations.harvesting.brought import check_record

        if "model" not in record:
            raise UsageError(
                f"{label} has stored activations only, so that no more of it can be harvested; "
                "import more, or harvest the network with --model"
            )
        check_record(label, record)
        shown = ("normalise", "channels", "tokenizer", "max_length")
        return cls(
            record["model"],
            label,
            record["model_args"],
            record.get("weights_path"),
            record["seed"],
            record.get("head"),
            **{key: record[key] for key in shown if key in record},
            before=record,
        )

    def load(self) -> nn.Module:
        """The network in evaluation mode.

        Raises:
            UsageError: it cannot be made.
            StoreError: it is no longer the one of the earlier harvest.
        """
        from repsim.activations.harvesting.brought import check_same
        from repsim.networks.external import load_network

        network = load_network(
            self.reference, arguments=self.arguments, weights=self.weights, seed=self.seed
        )
        if self.before is not None:
            check_same(network, self.name, self.before)
        return network


def jobs_of_model(
    asked: Asked,
    data: str | None,
    splits: tuple[str, ...],
    data_dir: Path | None,
    image_size: str,
    batch_size: int,
    layers: str | None = None,
) -> list[Job]:
    """A harvest of each part of a data set by a network from elsewhere.

    Raises:
        UsageError: no data set, or texts without a tokenizer.
    """
    from repsim.activations.harvesting.provenance import data_provenance
    from repsim.cli.examples import image_loaders
    from repsim.data import find_set
    from repsim.data.size import size_record
    from repsim.data.splits import Part
    from repsim.data.text import SUFFIXES, TextLoader, load_texts

    if data is None:
        raise UsageError("--model needs --data: an image set, or a file of texts")
    called = asked.name
    loaders: list[Any]
    if data.endswith(SUFFIXES):
        folder, tokens = _tokenizer(asked.tokenizer, asked.reference)
        sets: list[Any] = [load_texts(data, split) for split in splits or ("all",)]
        loaders = [TextLoader(each, tokens, batch_size, asked.max_length) for each in sets]
        shown: dict[str, Any] = {"tokenizer": folder, "max_length": asked.max_length}
    else:
        prepared = (asked.normalise, asked.channels)
        sets, loaders = image_loaders(
            data, splits or ("test",), data_dir, batch_size, image_size, *prepared
        )
        size = size_record(loaders[0].size)
        shown = {"image_size": size, "normalise": asked.normalise, "channels": asked.channels}
    with bar(f"load {called}"):
        network = asked.load()
    if find_set(data) is None:
        shown["data_path"] = data
    made = {"model": asked.reference, "model_args": dict(asked.arguments)}
    provenance = {"network": called, **made, **shown}
    if asked.weights is not None:
        provenance |= {"weights": _record(asked.weights), "weights_path": asked.weights}
    return [
        Job(
            called,
            loader.slug,
            network,
            loader,
            STORES / f"{called}.{loader.slug}.h5",
            {**data_provenance(each), **provenance},
            Part.of(each),
            layers,
            {"seed": asked.seed, "head": asked.head},
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
