"""The sanity check of Kornblith et al. (2019): does a measure find the corresponding layer?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim.errors import DegenerateError, NonFiniteError, RepsimWarning, UsageError, choices
from repsim.layers import select_layers
from repsim.measures.cka_map import cka_map
from repsim.measures.registry import MEASURES, Measure
from repsim.progress import silent
from repsim.results import SimilarityMap
from repsim.sources import ActivationSource, as_source, check_comparable

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

#: By how much the corresponding layer must be more similar than any other: where only rounding
#: decides, as between a layer and its flattened copy, nothing is identified.
MARGIN = 1e-9

#: Measures that one sweep gives for all pairs of layers: kernel and estimator.
_IN_ONE_SWEEP = {
    "cka": ("linear", "unbiased"),
    "cka-biased": ("linear", "biased"),
    "cka-rbf": ("rbf", "unbiased"),
}


def layer_identification(
    a: ActivationSource | dict[str, Any] | SimilarityMap,
    b: ActivationSource | dict[str, Any] | None = None,
    *,
    measure: str | Measure = "cka",
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
) -> float:
    """Share of the layers of a whose most similar layer of b is the one of the same name.

    A check of a measure rather than of networks (Kornblith et al. 2019, section 6.1): a and b have
    one architecture and differ in initialisation. Chance is 1 over the number of layers. This is
    one direction, from a to b. The paper averages both directions over all pairs of ten networks of
    ten layers, the logits left out: linear CKA 99.3 %, RBF CKA 80.6, 99.1 and 99.3 % (0.2, 0.4 and
    0.8 of the median distance), linear regression 45.4 %, SVCCA 9.9 % (squared: 15.1 %), PWCCA
    11.1 %, CCA 1.4 % (squared: 10.6 %), where CKA is by the biased estimator.

    As in the paper, a measure that is not symmetric is averaged over both orders of its arguments.
    A layer counts where its counterpart is more similar than every other layer, by more than 1e-9,
    so a tie does not count. Nor does a layer without a value for its counterpart.

    Args:
        a: an ``ActivationSource`` (an open store, say), a dict of layer name to (n, ...) array, or
            a ready ``SimilarityMap``, whatever its kernel.
        b: the other network on the same examples; None with a ready map.
        measure: a name in ``repsim.measures.MEASURES``, or a ``Measure``. CKA takes one sweep, the
            others read two layers for every pair. Of a ready map, ``"cka"`` takes the unbiased
            values and ``"cka-biased"`` the biased.
        layers_a: layers of ``a``: addresses or globs, ``"odd"``, ``"even"``; by default all.
        layers_b: layers of ``b``; by default as ``layers_a``.

    Raises:
        UsageError: layers of different names, fewer than two layers, or an unknown measure.
        MismatchError: a and b hold different examples, or were pooled differently.
        DegenerateError: the measure has no value for any pair of layers.

    Warns:
        RepsimWarning: it has none for some pairs, or a measure warned of some.
    """
    if isinstance(measure, str) and measure not in MEASURES:
        raise UsageError(f"unknown measure {measure!r}; {choices(measure, MEASURES)}")
    if isinstance(a, SimilarityMap):
        if b is not None or layers_a is not None or layers_b is not None:
            raise UsageError("a is a SimilarityMap; it stands alone, and its select takes layers")
        if measure not in ("cka", "cka-biased"):
            raise UsageError("a is a SimilarityMap; measure says 'cka' (unbiased) or 'cka-biased'")
        _check_layers(a.layers_a, a.layers_b)
        values = a.values("biased" if measure == "cka-biased" else "unbiased")
        return _share(values, a.layers_a, a.layers_b, _reasons(a))
    if b is None:
        raise UsageError("b is missing; expected a second network, or a SimilarityMap alone")

    a, b = as_source(a, "a"), as_source(b, "b")
    names_a = select_layers(a.layers, layers_a, of=a.name)
    names_b = select_layers(b.layers, layers_a if layers_b is None else layers_b, of=b.name)
    _check_layers(names_a, names_b)
    check_comparable(a, b)
    if isinstance(measure, str) and measure in _IN_ONE_SWEEP:
        kernel, estimator = _IN_ONE_SWEEP[measure]
        layers: dict[str, Any] = {"layers_a": names_a, "layers_b": names_b}
        found = cka_map(a, b, kernel=kernel, **layers, stderr=False, progress=silent)
        values, notes = found.values(estimator), _reasons(found)
    else:
        chosen = MEASURES[measure] if isinstance(measure, str) else measure
        values, notes = _of_all_pairs(a, names_a, b, names_b, chosen)
    return _share(values, names_a, names_b, notes)


def _check_layers(names_a: Sequence[str], names_b: Sequence[str]) -> None:
    alone = sorted(set(names_a) ^ set(names_b))
    if alone:
        raise UsageError(
            f"a and b must have the same layers; {len(alone)} are in one only, among them "
            f"{alone[0]!r}"
        )
    if len(names_a) < 2:
        raise UsageError("one layer was chosen; expected two or more, since one is always found")


def _reasons(found: SimilarityMap) -> list[str]:
    """The reasons for cells that are NaN: the notes of layers, whose keys are ``NAME:LAYER``."""
    return [note for key, note in found.notes.items() if ":" in key]


def _of_all_pairs(
    a: ActivationSource,
    names_a: Sequence[str],
    b: ActivationSource,
    names_b: Sequence[str],
    measure: Measure,
) -> tuple[Float[np.ndarray, "a b"], list[str]]:
    """Similarities, NaN where there is none, and the reasons."""
    values = np.full((len(names_a), len(names_b)), np.nan)
    notes = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RepsimWarning)
        for i, name_a in enumerate(names_a):
            x = a.rows(name_a, 0, a.n)
            for j, name_b in enumerate(names_b):
                y = b.rows(name_b, 0, b.n)
                try:
                    value = float(measure.function(x, y))
                    if not measure.symmetric:
                        value = (value + float(measure.function(y, x))) / 2
                except (DegenerateError, NonFiniteError) as error:
                    notes.append(f"{name_a!r} with {name_b!r}: {error}")
                    continue
                values[i, j] = -value if measure.distance else value
    _repeat(caught)
    return values, notes


def _repeat(caught: list[warnings.WarningMessage]) -> None:
    """Warn again of what was caught: in one line for each kind, not one for each pair."""
    ours = [warning for warning in caught if issubclass(warning.category, RepsimWarning)]
    for warning in caught:
        if warning not in ours:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if ours:
        more = f"; and {len(ours) - 1} more like it" if len(ours) > 1 else ""
        warnings.warn(f"{ours[0].message}{more}", RepsimWarning, stacklevel=4)


def _share(
    values: Float[np.ndarray, "a b"],
    names_a: Sequence[str],
    names_b: Sequence[str],
    notes: list[str],
) -> float:
    missing = int(np.isnan(values).sum())
    if missing:
        why = notes[0] if notes else "they are NaN"
        if missing == values.size:
            raise DegenerateError(f"no pair of layers has a value; {why}")
        warnings.warn(
            f"{missing} of {values.size} pairs of layers have no value; {why}",
            RepsimWarning,
            stacklevel=3,
        )
    return int(identified(values, names_a, names_b).sum()) / len(names_a)


def identified(
    values: Float[np.ndarray, "a b"], names_a: Sequence[str], names_b: Sequence[str]
) -> Bool[np.ndarray, " a"]:
    """Mask of the layers of a that are most similar to the layer of b of their own name."""
    found = np.zeros(len(names_a), dtype=bool)
    for k, (row, name) in enumerate(zip(values, names_a, strict=True)):
        at = names_b.index(name)
        others = np.delete(row, at)
        # Comparisons with NaN are false: fmax leaves those of other layers out, and a counterpart
        # without a value is above nothing.
        found[k] = row[at] > np.fmax.reduce(others, initial=-np.inf) + MARGIN
    return found
