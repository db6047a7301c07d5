"""Networks from elsewhere, made again from the record of their harvest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from repsim.data.preprocessing import Preprocessing
from repsim.errors import ShapeError, StoreError, UsageError
from repsim.networks.external import load_network
from repsim.networks.weights import network_digest

if TYPE_CHECKING:
    from repsim.training.sides import Side

#: Keys in the record of a harvest: of its network, and of the preparation of images.
_RECORDS = (
    "network",
    "model",
    "model_args",
    "weights",
    "weights_path",
    "weights_sha256",
    "seed",
    "head",
    "normalise",
    "channels",
)


@dataclass(frozen=True)
class Brought:
    """A network that no run has, as analyses that run networks take it.

    It reads images in [-1, 1], as the networks of runs do, and prepares them itself as its harvest
    did.

    Attributes:
        label: its name in tables and figures.
        record: of its harvest.
    """

    label: str
    record: Mapping[str, Any] = field(repr=False)

    #: There is no run, hence no generators, no augmentation of its own and no curves.
    run = None

    @classmethod
    def of(cls, label: str, provenance: Mapping[str, Any]) -> Brought:
        """The network of a store.

        Raises:
            UsageError: the store was imported, or lacks the record to make its network again.
        """
        if "model" not in provenance or "normalise" not in provenance:
            raise UsageError(
                f"{label} has stored activations only; running the network needs a run, or a "
                "harvest of images with --model"
            )
        check_record(label, provenance)
        return cls(label, {key: provenance[key] for key in _RECORDS if key in provenance})

    @property
    def trained(self) -> bool:
        """True if it has weights from a file, so that it can be compared with itself before."""
        return "weights_path" in self.record

    @property
    def head(self) -> str | None:
        """The address of its head, where the harvest named it."""
        named = self.record.get("head")
        return None if named is None else str(named)

    def load(self, shown: Side = "real") -> nn.Module:
        """The network in evaluation mode, on the CPU; it has no sides.

        Raises:
            UsageError: it cannot be made.
            StoreError: it is no longer the one that was harvested.
        """
        network = self._made(self.record.get("weights_path"))
        check_same(network, self.label, self.record)
        return network

    def untrained(self, shown: Side = "real") -> nn.Module:
        """The same network as it is made, without its weights."""
        return self._made(None)

    def provenance(self) -> dict[str, Any]:
        """The record for results."""
        return dict(self.record)

    def _made(self, weights: str | None) -> nn.Module:
        record = self.record
        network = load_network(
            record["model"], arguments=record["model_args"], weights=weights, seed=record["seed"]
        )
        prepare = Prepared(Preprocessing.parse(record["normalise"], channels=record["channels"]))
        if not prepare.is_usual:
            network.register_forward_pre_hook(prepare)
        return network


def check_record(label: str, record: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a record that lacks the place of weights, as earlier ones do."""
    if "weights" in record and "weights_path" not in record:
        raise UsageError(
            f"{label!r} was harvested by an earlier version, which did not record where its "
            "weights are; harvest it again with --overwrite"
        )


def check_same(network: nn.Module, label: str, record: Mapping[str, Any]) -> None:
    """Raise ``StoreError`` for a network that has other weights than those of a harvest."""
    if network_digest(network) != record["weights_sha256"]:
        raise StoreError(
            f"{record['model']} gives other weights than those that {label!r} was harvested with; "
            "put them back, or harvest it again with --overwrite"
        )


@dataclass(frozen=True)
class Prepared:
    """Images in [-1, 1] prepared for a network before its forward, as a hook."""

    preprocessing: Preprocessing

    @property
    def is_usual(self) -> bool:
        """True if the network reads images in [-1, 1] as they are."""
        return self.preprocessing == Preprocessing()

    def __call__(self, network: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        images, *others = given
        return (self.prepared(images), *others)

    def prepared(self, images: Tensor) -> Tensor:
        """The images with the network's channels, mean and standard deviation.

        Raises:
            ShapeError: channels that cannot be had from them.
        """
        chosen, found = self.preprocessing, images.shape[1]
        wanted = chosen.channels or (len(chosen.mean) if len(chosen.mean) > 1 else found)
        if found not in (1, wanted):
            raise ShapeError(f"images have {found} channels; expected {wanted}, or grey ones")
        mean, std = (
            torch.tensor(values, dtype=images.dtype, device=images.device)[:, None, None]
            for values in (chosen.mean, chosen.std)
        )
        return ((images.expand(-1, wanted, -1, -1) + 1) / 2 - mean) / std
