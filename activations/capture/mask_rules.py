"""Masks that a user tells for the layers that match a pattern."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from repsim.activations.capture.batches import LABELS
from repsim.activations.capture.masks import KINDS, Mask, kind_of
from repsim.activations.capture.rules import matches, pair
from repsim.errors import UsageError, choices

#: The name that stands for no mask.
NONE = "none"


class MaskRules:
    """The masks that are told: the first pattern that matches the address of a layer.

    Args:
        chosen: pairs of pattern and mask, as ``"encoder.*=attention_mask,vision.*=none"`` or a
            dictionary of them. A mask is the name of an entry of the batch, with ``:tokens``,
            ``:padding``, ``:lengths`` or ``:negative`` where its name does not say which it is.

    Raises:
        UsageError: not understood.
    """

    def __init__(self, chosen: str | Mapping[str, str] = "") -> None:
        self._rules = [(pattern, _parse(text)) for pattern, text in _pairs(chosen)]

    def __str__(self) -> str:
        """As it is written, and as provenance records it."""
        masks = ((p, NONE if m is None else f"{m.name}:{m.kind}") for p, m in self._rules)
        return ",".join(f"{pattern}={mask}" for pattern, mask in masks)

    @property
    def names(self) -> set[str]:
        """The entries of a batch that are meant."""
        return {mask.name for _, mask in self._rules if mask is not None}

    @property
    def counts(self) -> bool:
        """True if lengths are among the masks that are told."""
        return any(mask is not None and mask.kind == "lengths" for _, mask in self._rules)

    def of(self, layer: str) -> tuple[Mask | None] | None:
        """The mask of the layer at an address, which may be none; None where nothing is told."""
        return next(((m,) for p, m in self._rules if matches(p, layer)), None)

    def by_mask(self, layers: Mapping[str, str]) -> dict[Mask, dict[str, str]]:
        """The layers of each mask, of addresses by name."""
        found: dict[Mask, dict[str, str]] = {}
        for layer, address in layers.items():
            told = self.of(layer)
            if told is not None and told[0] is not None:
                found.setdefault(told[0], {})[layer] = address
        return found

    def among(self, layers: Collection[str]) -> MaskRules:
        """The rules that some of these layers match."""
        found = MaskRules()
        found._rules = [
            (pattern, mask)
            for pattern, mask in self._rules
            if any(matches(pattern, layer) for layer in layers)
        ]
        return found

    def check(self, layers: Collection[str]) -> None:
        """Raise ``UsageError`` if one of the patterns matches no layer."""
        for pattern, _ in self._rules:
            if not any(matches(pattern, layer) for layer in layers):
                raise UsageError(
                    f"mask rule {pattern!r} is never used: it matches none of {', '.join(layers)}"
                )


def _pairs(chosen: str | Mapping[str, str]) -> Iterable[tuple[str, str]]:
    if isinstance(chosen, str):
        return [pair(each) for each in chosen.split(",") if each.strip()]
    return chosen.items()


def _parse(text: str) -> Mask | None:
    name, colon, kind = text.strip().partition(":")
    if name == NONE and not colon:
        return None
    kind = kind if colon else "negative" if name in LABELS else kind_of(name)
    if kind in KINDS:
        return Mask(name, kind)
    if colon:
        raise UsageError(f"mask {text!r}: unknown kind {kind!r}; {choices(kind, KINDS)}")
    raise UsageError(
        f"mask {name!r}: nothing says what marks padding; pass {name}:tokens where 1 is a token, "
        f"{name}:padding where 1 is padding, {name}:negative where a number below 0 is, or "
        f"{name}:lengths"
    )
