"""Masks of a batch: entries that say which positions are tokens, and which are padding."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.batches import (
    ABOUT,
    LABELS,
    are_parts,
    array_of,
    batch_size,
    dictionary_of,
    is_by_example,
)
from repsim.activations.capture.fillers import are_whole, goes_on, is_filled, one_each
from repsim.activations.capture.looked_up import LookedUp

#: Ways in which a mask says where padding is.
KINDS = {
    "tokens": "1 or True marks a token, as in attention_mask of transformers",
    "padding": "True marks padding, as in key_padding_mask of torch",
    "lengths": "the number of tokens of each example; padding follows",
    "negative": "a number below 0 marks padding, as -100 in the labels of a loss",
}

#: Kinds of masks with a mark for each position of a map.
_OF_MAPS = ("tokens", "padding")

#: Endings of the names of arguments by which masks are known.
_ENDINGS = {
    "key_padding_mask": "padding",
    "attention_mask": "tokens",
    "pixel_mask": "tokens",
}

#: Words by which lengths are called, at the end of a name or at its beginning.
_LENGTH = re.compile(
    r"(?:seq|src|tgt|txt|text|token|input|audio|frame|feat|wav|mel|[a-z])?(?:lengths?|lens?)"
)

#: Words that come with them, where the lengths are those of an input.
_OF_INPUTS = re.compile(
    r"(?:seq|sequence|src|source|tgt|txt|text|token|word|char|phone|phoneme|sentence|doc|document|"
    r"query|passage|context|prompt|question|answer|input|encoder|decoder|audio|speech|frame|feat|"
    r"feature|wav|wave|waveform|mel|spec|signal|sample|step|time|series|trajectory|episode|history|"
    r"session|path|valid|real|true|actual|original|unpadded|pad|padded|batch|[a-z]|\d+)s?"
)

#: A word of a name, between underscores or in camel case.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

#: Names that may count positions that are no padding, as ``num_points`` and ``n_frames`` do.
_COUNTING = re.compile(
    r"(?:^|_)(?:num_?\w+|n_\w+|n?(?:frames|points|nodes|tokens|steps|sizes?|counts?|durations?))$"
)

#: Parts of the names of arguments whose zeros and ones may say where padding is.
_OF_FLAGS = ("pad", "valid")

#: Arguments that are called masks, and say nothing of padding.
_OTHERS = frozenset({"global_attention_mask", "head_mask"})

#: Endings of the names of whole numbers that come for each token and are no tokens themselves.
NO_TOKENS = ("type_ids", "position_ids", "mask")

#: The numbers of each input by which rows of tables are looked up, by its name.
Lookups = Mapping[str, Sequence[LookedUp]]
_NO_LOOKUPS: Lookups = MappingProxyType({})

#: Beginnings of the names of lengths of something else than inputs.
_OTHER_LENGTHS = ("label", "target", "max", "min")


@dataclass(frozen=True)
class Mask:
    """An entry of a batch that tells of padding.

    Attributes:
        name: of the entry.
        kind: one of ``KINDS``; otherwise padding may be there, but not where: ``labels`` below 0,
            tokens that are there to ``pad`` with, a mask that is ``unknown``, or numbers that may
            be ``counts`` of positions.
        pad: the token that a tokenizer pads with; None if it may mean something else.
        ends: tokens at the ends of texts; two of them in a row are padding.
        looked_up: numbers of the entry that are tokens, by what the network does with them.
    """

    name: str
    kind: str
    pad: int | None = None
    ends: tuple[int, ...] = ()
    looked_up: tuple[LookedUp, ...] = ()

    @property
    def is_input(self) -> bool:
        """True for an input that tells of padding by the way."""
        return self.kind in ("labels", "pad")

    @property
    def is_known(self) -> bool:
        """True for a mask that says where padding is."""
        return self.kind in KINDS

    def shows_padding(self, batch: Any, shape: Sequence[int] = ()) -> bool:
        """True if some position of a batch is padding, or may be.

        Args:
            batch: with the entry, or without.
            shape: of the layer that is asked about, without the examples.
        """
        value = self.value(batch)
        if value is None or not value.numel():
            return False
        if self.kind == "labels":
            return bool((value < 0).any())
        if self.kind == "pad":
            begin = not self.name.startswith("decoder")  # which may begin with it
            if self.looked_up:
                some = (each.shows_padding(value, shape, begin=begin) for each in self.looked_up)
                return any(some)
            at = [value, value.flip(1)] if begin else [value.flip(1)]
            return any(self._begin_padded(each) for each in at)
        if self.kind in ("unknown", "counts"):
            return bool((value != value.flatten()[0]).any())
        kept = self._kept(value)
        return kept is None or not bool(kept.all())

    def kept(self, batch: Any, length: int) -> Tensor | None:
        """The tokens of each example, True in (n, length); None if the mask is none of these."""
        value = self.value(batch)
        if value is None or not self.is_known:
            return None
        if self.kind == "lengths":
            if value.ndim != 1:
                return None
            within = bool(((value >= 0) & (value <= length)).all())
            return (
                torch.arange(length, device=value.device) < value.unsqueeze(1) if within else None
            )
        kept = self._kept(value)
        return kept if kept is not None and kept.shape == (len(value), length) else None

    def kept_of_map(
        self, batch: Any, shape: Sequence[int], axis: int | None = None
    ) -> Tensor | None:
        """The positions of maps that are no padding; None if the mask is not of theirs.

        Args:
            batch: with the mask, (n, ...) of all positions in their order, or (n, frames).
            shape: of a layer with more than one axis of positions, (n, ...), its channels first or
                last.
            axis: of the frames in it, which lengths need.
        """
        value = self.value(batch)
        if value is None or len(shape) < 4 or value.shape[:1] != tuple(shape[:1]):
            return None
        own, sizes = tuple(value.shape[1:]), tuple(shape[1:])
        if self.kind == "lengths":
            return None if axis is None else self.kept(batch, shape[axis])
        kept = self._kept(value) if self.kind in _OF_MAPS else None
        fits = own in (sizes[1:], sizes[:-1]) or (len(own) == 1 and sizes.count(own[0]) == 1)
        return kept if fits else None

    def value(self, batch: Any) -> Tensor | None:
        """The entry of a batch; None where it has none."""
        found = next((value for name, value in _leaves(batch) if name == self.name), None)
        array = array_of(found)
        counts = array is not None and self.kind in ("lengths", "counts")
        return one_each(array) if array is not None and counts else array

    @property
    def is_within(self) -> bool:
        """True for an array within another entry of the batch, by its path."""
        return "." in self.name

    def is_misread(self, batch: Any) -> bool:
        """True if the entry of a batch has values that a mask of this kind cannot hold."""
        value = self.value(batch)
        return value is not None and self._kept(value) is None

    def full(self, value: Any, length: int) -> Tensor:
        """The mask of examples that are all tokens, of so many positions."""
        value = array_of(value)
        if self.kind == "lengths":
            return torch.full_like(value, length)
        return torch.zeros_like(value) if self.kind == "padding" else torch.ones_like(value)

    def marked(self, value: Tensor, padded: slice) -> Tensor:
        """The mask of examples that have padding in some places and tokens in all others."""
        found = self.full(value, value.shape[1])
        added = self.kind == "padding" and value.is_floating_point()
        found[:, padded] = -torch.inf if added else self.kind == "padding"
        return found

    def _begin_padded(self, tokens: Tensor) -> bool:
        """True if texts (n, tokens) begin with a token to pad with, or two of an end."""
        first, second = tokens[:, 0], tokens[:, 1:2].flatten()
        if self.pad is not None and bool((first == self.pad).any()):
            return True
        twice = first[first == second] if len(second) else second
        return any(bool((twice == each).any()) for each in self.ends)

    def _kept(self, value: Tensor) -> Tensor | None:
        """True where there is a token; None for values that a mask of this kind has not."""
        if self.kind == "lengths":
            return value.unsqueeze(1) == value.max()
        if self.kind == "negative":
            return value >= 0
        if self.kind == "padding" and value.is_floating_point():  # added to scores of attention
            is_token, is_padding = value == 0, value == -torch.inf
        else:
            is_token, is_padding = value != 0, value == 0
            if not bool(((value == 0) | (value == 1)).all()):
                return None
            if self.kind == "padding":
                is_token, is_padding = is_padding, is_token
        return is_token if bool((is_token | is_padding).all()) else None


def masks_in(batch: Any) -> list[Mask]:
    """The masks of a batch that are known by their names."""
    return [
        Mask(name, kind)
        for name, value in arrays_by_example(batch)
        if (kind := kind_of(name))
        and (_counts(value) if kind == "lengths" else _marks_positions(name, value))
    ]


def _counts(value: Tensor) -> bool:
    """True for one whole number of each example."""
    return one_each(value).ndim == 1 and _are_counts(value)


def _are_counts(value: Tensor) -> bool:
    """True for whole numbers of any type; ones and zeros that are floats may be shares."""
    return not value.is_floating_point() or (are_whole(value) and bool((value > 1).any()))


def _marks_positions(name: str, value: Tensor) -> bool:
    return value.ndim == 2 or (value.ndim > 2 and name.endswith("pixel_mask"))


def kind_of(name: str) -> str:
    """The kind of mask that a name says; empty where it says none."""
    name = _own_name(name)
    lower = name.lower()
    kind = next((kind for ending, kind in _ENDINGS.items() if lower.endswith(ending)), "")
    kind = kind or ("lengths" if _is_length(name) else "")
    others = kind == "lengths" and lower.startswith(_OTHER_LENGTHS)
    return "" if others or name in _OTHERS else kind


def is_telling(name: str) -> bool:
    """True for a name of masks or of lengths."""
    return "mask" in _own_name(name) or bool(kind_of(name))


def _is_length(name: str) -> bool:
    """True for a name that ends in a word for lengths, or begins with one."""
    words = [each.lower() for each in _WORD.findall(name)]
    if not words:
        return False
    ends = _LENGTH.fullmatch(words[-1]) is not None
    return ends or re.fullmatch(r"lengths?|lens?", words[0]) is not None


def is_plain(name: str) -> bool:
    """True for a name of lengths that can hardly mean another one than that of an input.

    ``lens`` may be an optical one, and a fish has a ``fork_length``.
    """
    words = [each.lower() for each in _WORD.findall(_own_name(name))]
    others = [each for each in words if not _LENGTH.fullmatch(each)]
    return words != ["lens"] and all(map(_OF_INPUTS.fullmatch, others))


def is_doubtful(mask: Mask, batch: Any) -> bool:
    """True for lengths of no plain name, behind which every input that could have them goes on."""
    value = mask.value(batch)
    if mask.kind != "lengths" or is_plain(mask.name) or value is None or value.ndim != 1:
        return False
    return _all_go_on(arrays_by_example(batch), mask.name, value, at_least=True)


def _are_several(name: str, value: Tensor) -> bool:
    """True for several lengths of each example, as of several inputs."""
    return kind_of(name) == "lengths" and one_each(value).ndim == 2 and _are_counts(value)


def _all_go_on(
    entries: Collection[tuple[str, Tensor]], name: str, counts: Tensor, *, at_least: bool
) -> bool:
    """True if each array of as many positions, or more, has several values behind the counts."""
    counts = one_each(counts)
    most = int(counts.max()) if counts.numel() else 0
    found = [
        goes_on(value.movedim(axis, 1), counts.to(value.device))
        for other, value in entries
        for axis in range(1, value.ndim)
        if other != name and (value.shape[axis] == most or (at_least and value.shape[axis] > most))
    ]
    return True in found and False not in found


def hints_in(batch: Any, model: nn.Module, lookups: Lookups = _NO_LOOKUPS) -> list[Mask]:
    """Entries of a batch that tell of padding, but not in a way that is known.

    Args:
        batch: a dictionary.
        model: not wrapped.
        lookups: the numbers of entries that are tokens, as far as they are known.
    """
    entries = arrays_by_example(batch)
    known, pad, ends = {mask.name for mask in masks_in(batch)}, padding_token(model), _ends(model)
    ending, telling = _ending(model), pad is not None or bool(ends)
    found = {
        name: _hint(name, value, telling and name.endswith(ending), alone=len(entries) == 1)
        for name, value in entries
        if name not in known and value.ndim > 1
    }
    sizes = {size for _, value in entries for size in value.shape[1:]}
    found |= {
        name: "counts"
        for name, value in entries
        if name not in {*known, *ABOUT}
        and one_each(value).ndim == 1
        and _may_count(name, value, sizes)
        and (_is_counting(name) or not _all_go_on(entries, name, value, at_least=False))
    }
    found |= {name: "counts" for name, value in entries if _are_several(name, value)}
    hints = [Mask(name, kind, pad, ends) for name, kind in found.items() if kind]
    looked_up = _looked_up(batch, lookups, ending)
    others = [each for each in hints if each.name not in looked_up or each.kind != "pad"]
    return [*others, *(each for name, each in looked_up.items() if found.get(name) in ("", "pad"))]


def _looked_up(batch: Any, lookups: Lookups, ending: str) -> dict[str, Mask]:
    """Entries with a token of padding, by what a network does with their numbers."""
    known = {mask.name for mask in masks_in(batch)}
    return {
        name: Mask(name, "pad", looked_up=tuple(lookups[name]))
        for name, value in arrays_by_example(batch)
        if name not in known
        and name in lookups
        and not (ending and name.endswith(ending))
        and any(each.tells(value) for each in lookups[name])
    }


def _may_count(name: str, value: Tensor, sizes: Collection[int]) -> bool:
    """True for a number of each example that may say how many positions are no padding.

    By its name; or because the largest is the number of positions, and none is beyond. Inputs that
    go on behind it are evidence against that, where the name says nothing.
    """
    if not sizes or not value.numel() or bool((value <= 0).any()):
        return False
    if not _are_counts(value):  # shares of the longest
        return kind_of(name) == "lengths" and bool((value <= 1).all())
    most = int(value.max())
    return most in sizes or (_is_counting(name) and most <= max(sizes))


def _is_counting(name: str) -> bool:
    return _COUNTING.search(_own_name(name).lower()) is not None


def unsaid_tokens(
    batch: Any, model: nn.Module, lookups: Lookups = _NO_LOOKUPS
) -> dict[str, tuple[int, ...]]:
    """Texts of a batch that may be padded unseen; the numbers of their positions.

    All texts, where no token is padding alone; else the texts evidently padded with another one.
    The arguments are those of ``hints_in``.
    """
    known = {mask.name for mask in masks_in(batch)}
    found = {}
    for name, value in arrays_by_example(batch):
        if name in known or name in LABELS or name.endswith(NO_TOKENS):
            continue
        text = _text(name, value, model, tuple(lookups.get(name, ())))
        if text is None or text[0][0].numel() < 2:
            continue
        if _may_be_padded(*text, batch):
            found[name] = tuple(text[0].shape[1:])
    return found


def _text(
    name: str, value: Tensor, model: nn.Module, looked_up: tuple[LookedUp, ...]
) -> tuple[Tensor, Mask] | None:
    """The tokens (n, positions, ...) in an entry, and the mask that they are; None of others."""
    mask, ending = Mask(name, "pad", padding_token(model)), _ending(model)
    plain = _has_embedding(model) and name.endswith(ending) and _are_tokens(value)
    if not looked_up or (ending and plain):
        return (value, mask) if plain else None
    pads = [each.pad for each in looked_up if each.pad is not None]
    if pads or not plain:
        mask = Mask(name, "pad", pads[0] if pads else None, looked_up=looked_up)
    return looked_up[0].numbers(value), mask


def _may_be_padded(tokens: Tensor, mask: Mask, batch: Any) -> bool:
    """True for texts without a token of padding, or evidently padded with another one."""
    if mask.pad is None:
        return True
    return not mask.shows_padding(batch) and is_filled(tokens.flatten(0, -2))


def _has_embedding(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Embedding) for module in model.modules())


def _ending(model: nn.Module) -> str:
    """The ending of the names of tokens."""
    return "input_ids" if hasattr(model, "config") else ""


def _hint(name: str, value: Tensor, telling: bool, *, alone: bool) -> str:
    """The kind of an entry that may tell of padding; flags that come alone tell of nothing."""
    name = _own_name(name)
    if name in LABELS:
        return "labels"
    marks = "mask" in name or (_are_flags(name, value) and not alone)
    if marks and name not in _OTHERS and not _is_one_of_pairs(value):
        return "unknown"
    return "pad" if telling and _are_tokens(value) else ""


def _is_one_of_pairs(value: Tensor) -> bool:
    """True for one mask of pairs (positions, positions) that is repeated for each example."""
    square = value.ndim == 3 and value.shape[1] == value.shape[2] and len(value) > 1
    return square and bool((value == value[:1]).all())


def _are_flags(name: str, value: Tensor) -> bool:
    """True for a mark of each position: of truth values, or zeros and ones that are no types."""
    if value.ndim != 2 or value.dtype == torch.bool:
        return value.ndim == 2
    called = any(part in name for part in _OF_FLAGS)
    zeros, ones = value == 0, value == 1
    both = bool(zeros.any()) and bool(ones.any()) and not name.endswith(NO_TOKENS[:2])
    return (called or both) and bool((zeros | ones).all())


def _are_tokens(value: Tensor) -> bool:
    return value.ndim == 2 and not value.is_floating_point() and value.dtype != torch.bool


def arrays_by_example(batch: Any) -> list[tuple[str, Tensor]]:
    """The numbers of a batch that come for each example, by name."""
    n = batch_size(batch)
    return [(name, value) for name, value in _arrays(batch) if is_by_example(name, value, n)]


def _arrays(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """The arrays in the dictionary of a batch, and those within its entries, by their paths."""
    for name, value in _leaves(batch):
        array = array_of(value)
        if array is not None:
            yield name, array


def _leaves(batch: Any) -> Iterator[tuple[str, Any]]:
    """Entries of a batch, and what is in dictionaries and in lists of arrays, by their paths."""
    n = batch_size(batch)
    waiting = list(dictionary_of(batch).items())
    for name, value in waiting:
        if isinstance(value, Mapping):
            waiting += [(f"{name}.{key}", each) for key, each in value.items()]
        elif are_parts(value, n):
            waiting += [(f"{name}.{k}", each) for k, each in enumerate(value)]
        else:
            yield str(name), value


def _own_name(path: str) -> str:
    """The name of an array within other entries, without its number in a list."""
    return next((each for each in reversed(path.split(".")) if not each.isdigit()), path)


def padding_token(model: nn.Module) -> int | None:
    """The token that a network is padded with, where it means nothing else.

    By the configuration of a network of transformers, or by the ``padding_idx`` of an embedding.
    """
    config: Any = getattr(model, "config", None)
    if config is None:
        told = {each.padding_idx for each in model.modules() if isinstance(each, nn.Embedding)}
        told.discard(None)  # of positions, for instance
        return told.pop() if len(told) == 1 else None
    pad = getattr(config, "pad_token_id", None)
    return (
        pad if isinstance(pad, int) and pad not in (*_ends(model), *_told(config, "cls")) else None
    )


def _ends(model: nn.Module) -> tuple[int, ...]:
    """The tokens by which texts of a network of transformers begin and end."""
    config: Any = getattr(model, "config", None)
    return tuple(dict.fromkeys(k for name in ("bos", "eos", "sep") for k in _told(config, name)))


def _told(config: Any, name: str) -> list[int]:
    """The tokens of one meaning in a configuration, which may name several."""
    told = getattr(config, f"{name}_token_id", None)
    return [each for each in (told if isinstance(told, list) else [told]) if isinstance(each, int)]
