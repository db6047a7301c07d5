"""Similarity of the layers of two networks, as a map of one value a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import numpy as np

from repsim.confidence import check_level, normal_quantile, t_quantile
from repsim.errors import MismatchError, UsageError, choices
from repsim.jackknife import over_networks
from repsim.results.base import Result
from repsim.results.earlier_maps import as_of_now

#: Distance from 1 within which a layer is as similar to itself as float32 products show.
_SAME = 1e-5


@dataclass(frozen=True, eq=False)
class SimilarityMap(Result):
    """CKA of every layer of a against every layer of b.

    Attributes:
        layers_a: addresses of the rows, in order of execution.
        layers_b: addresses of the columns.
        unbiased: (layers_a, layers_b) float64, from the unbiased HSIC; NaN where undefined.
        biased: the same from the biased HSIC, or None where only batches were seen.
        n: number of examples.
        name_a: of the network that the rows belong to.
        name_b: of the network, or the classes, that the columns belong to.
        kernel: ``"linear"`` or ``"rbf:FRACTION"``.
        notes: ``NAME:LAYER`` to the reason for a NaN, or a word to a warning.
        provenance: where the numbers come from.
        stderr: standard error of ``unbiased`` over draws of the examples, or of an average over
            draws of the networks; or None.
        freedom: degrees of freedom of ``stderr``, as of an average or of batches; None where they
            are many, and the interval is the normal distribution's.
        p_value: how often permuted examples give at least the unbiased value, or None.
        p_value_max: the same corrected for having looked at all pairs, or None.
        maps: how many maps it is the average of; 1 for a map as it was measured.
        networks: of each of these maps, digests of the two networks, by which a network is known in
            other maps; one digest of a network compared with itself or with classes. Empty where
            they are not known.
    """

    kind: ClassVar[str] = "similarity-map"

    #: Fields of shape (layers_a, layers_b).
    TABLES: ClassVar[tuple[str, ...]] = (
        "unbiased",
        "biased",
        "stderr",
        "freedom",
        "p_value",
        "p_value_max",
    )

    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    unbiased: np.ndarray
    biased: np.ndarray | None
    n: int
    name_a: str
    name_b: str
    kernel: str
    notes: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    stderr: np.ndarray | None = None
    p_value: np.ndarray | None = None
    p_value_max: np.ndarray | None = None
    maps: int = 1
    networks: tuple[tuple[str, ...], ...] = ()
    freedom: np.ndarray | None = None

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> SimilarityMap:
        made = super()._from_dict(as_of_now(content))
        shape = (len(made.layers_a), len(made.layers_b))
        whole = {
            key: table.reshape(shape)  # of no layers a list has no second length
            for key, table in made._tables().items()
            if table is not None
        }
        return replace(made, **whole)

    @classmethod
    def average(
        cls,
        maps: Sequence[SimilarityMap],
        name_a: str,
        name_b: str,
        networks: Sequence[tuple[str, ...]] | None = None,
    ) -> SimilarityMap:
        """The mean of maps of the same layers, as over seeds.

        ``stderr`` is over draws of networks, by the jackknife that leaves out one network with all
        of its maps: see ``repsim.jackknife.over_networks``. It is None, with a note, where the
        networks of a map are not known, or where nothing is left without one of them. A value that
        is NaN in one map is NaN in the mean. ``biased`` is there where all maps have it.

        Args:
            maps: at least one; all of the same layers, kernel, number of examples and pooling.
            name_a: name for the rows, whatever the seed.
            name_b: name for the columns.
            networks: of each map, names that tell the two networks from others; one name of a
                network that is compared with itself or with classes. By default as the maps have
                them.

        Raises:
            UsageError: no map, or networks of another number of maps.
            MismatchError: the maps differ in layers, kernel, examples or pooling.
        """
        if not maps:
            raise UsageError("no map arrived; expected at least one")
        first, count = maps[0], len(maps)
        for other in maps[1:]:
            _check_alike(first, other)
        known = _networks_of(maps) if networks is None else tuple(map(tuple, networks))
        unbiased = np.stack([each.unbiased for each in maps])
        biased = [each.biased for each in maps if each.biased is not None]
        notes = {key: note for each in maps for key, note in each.notes.items()}
        return cls(
            layers_a=first.layers_a,
            layers_b=first.layers_b,
            unbiased=unbiased.mean(0),
            biased=np.mean(biased, axis=0) if len(biased) == count else None,
            n=first.n,
            name_a=name_a,
            name_b=name_b,
            kernel=first.kernel,
            provenance={"average_of": [each.provenance for each in maps]},
            maps=count,
            networks=known,
            **_certainty(unbiased, known, notes),
        )

    def values(self, estimator: str = "unbiased") -> np.ndarray:
        """The (layers_a, layers_b) values of one estimator.

        Raises:
            UsageError: an estimator that there is not, or that this map does not hold.
        """
        if estimator not in ("unbiased", "biased"):
            raise UsageError(
                f"unknown estimator {estimator!r}; {choices(estimator, ['unbiased', 'biased'])}"
            )
        found = getattr(self, estimator)
        if found is None:
            raise UsageError("a map from minibatches has no biased values; use the unbiased")
        return found

    @property
    def comparison(self) -> str:
        """The kind of the columns: ``networks``, ``views`` or ``classes``.

        Layers of a network on the same images, layers of a on other augmented copies of them, or
        the labels of the images.
        """
        return self.provenance.get("comparison", "networks")

    @property
    def pooled(self) -> str:
        """The addition to a title where layers were reduced before they were compared."""
        parts = self.provenance.get("average_of") or [self.provenance]  # all alike
        pooling = parts[0].get("a", {}).get("pooling", "none")
        if pooling == "none":
            return ""
        return ", averaged maps" if pooling == "avg" else f", pooling {pooling}"

    @property
    def augmented(self) -> str:
        """The addition to a title where the images were augmented."""
        augmentation = self.provenance.get("augmentation")
        return f", {augmentation} augmentation" if augmentation else ""

    def best_match(self, estimator: str = "unbiased") -> tuple[int | None, ...]:
        """For each layer of a, the index of the most similar layer of b; None if all are NaN."""
        return best_match(self.values(estimator))

    def most_similar(self, estimator: str = "unbiased") -> tuple[int | None, ...]:
        """``best_match``, but another layer where a network is compared with itself."""
        return best_match(self.values(estimator), self.itself)

    @property
    def itself(self) -> dict[int, int]:
        """For each layer of a network that is compared with itself its own column, by row."""
        return own_cells(self.unbiased, self.name_a, self.name_b, self.layers_a, self.layers_b)

    def diagonal(self, estimator: str = "unbiased") -> np.ndarray | None:
        """Values of corresponding layers; None unless both sides have the same layers."""
        return self.values(estimator).diagonal() if self.layers_a == self.layers_b else None

    def select(self, layers_a: tuple[str, ...], layers_b: tuple[str, ...]) -> SimilarityMap:
        """The part of the map at some layers."""
        at = np.ix_(
            [self.layers_a.index(layer) for layer in layers_a],
            [self.layers_b.index(layer) for layer in layers_b],
        )
        parts = {key: None if table is None else table[at] for key, table in self._tables().items()}
        return replace(self, layers_a=layers_a, layers_b=layers_b, **cast(dict[str, Any], parts))

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of a confidence interval of every unbiased value, (a, b) each.

        Fisher's transform: tanh(artanh v ± z s / (1 - v²)), with s the standard error, so that
        no interval leaves [-1, 1]. A layer against itself has an interval of no width. z is the
        normal quantile; with ``freedom``, as of an average or of batches, that of Student's t.

        Args:
            level: how often such intervals cover, between 0 and 1.

        Raises:
            UsageError: a map without standard errors, or a level that cannot be.
        """
        if self.stderr is None:
            reason = self.notes.get("stderr", "compute it with stderr=True")
            raise UsageError(f"this map has no standard errors; {reason}")
        check_level(level)
        z = normal_quantile(level) if self.freedom is None else t_quantile(level, self.freedom)
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = np.arctanh(self.unbiased)
            reach = z * self.stderr / (1 - self.unbiased**2)
            low, high = np.tanh(centre - reach), np.tanh(centre + reach)
        certain = np.abs(self.unbiased) > 1 - 1e-9  # a layer and itself, or a rotation of it
        return (
            np.where(certain, self.unbiased, low),
            np.where(certain, self.unbiased, high),
        )

    def _tables(self) -> dict[str, np.ndarray | None]:
        return {key: getattr(self, key) for key in self.TABLES}

    def headline(self) -> str:
        shape = f"{len(self.layers_a)} x {len(self.layers_b)} layers"
        values = self.unbiased[~np.isnan(self.unbiased)]
        ends = (values.min(), values.max()) if values.size else ()
        span = " to ".join(dict.fromkeys(f"{end:.3f}" for end in ends))  # of one value, once
        average = f", mean of {self.maps} maps" if self.maps > 1 else ""
        pair = f"{self.name_a:.40} against {self.name_b:.40}"
        terms = ", ".join(filter(None, (shape, f"n = {self.n:,}", f"{self.kernel:.40}", span)))
        return f"{pair}: {terms}{average}"

    def preview(self) -> list[dict[str, Any]]:
        """Each layer of a with the most similar one of b."""
        pairs = zip(self.layers_a, self.best_match(), self.unbiased, strict=True)
        a, b = self.name_a, f"most similar in {self.name_b}"
        return [
            {a: layer, b: self.layers_b[at], "CKA": float(row[at])}
            for layer, at, row in pairs
            if at is not None
        ]

    def rows(self) -> list[dict[str, Any]]:
        tables = {key: table for key, table in self._tables().items() if table is not None}
        if self.stderr is not None:
            tables["low"], tables["high"] = self.interval()
        return [
            {
                "layer_a": layer_a,
                "layer_b": layer_b,
                **{key: float(table[i, j]) for key, table in tables.items()},
            }
            for i, layer_a in enumerate(self.layers_a)
            for j, layer_b in enumerate(self.layers_b)
        ]


def _networks_of(maps: Sequence[SimilarityMap]) -> tuple[tuple[str, ...], ...]:
    """The networks of each map; empty where those of one are not known, or are of an average."""
    found = [each.networks for each in maps]
    return tuple(own[0] for own in found) if all(len(own) == 1 for own in found) else ()


def _certainty(
    values: np.ndarray, networks: tuple[tuple[str, ...], ...], notes: dict[str, str]
) -> dict[str, Any]:
    """The fields of an average that tell how certain it is, and its notes."""
    reason = ""
    if networks:
        _, stderr, freedom = over_networks(values, networks)
        if not np.isnan(freedom).all():
            return {"stderr": stderr, "freedom": freedom, "notes": notes}
        reason = "nothing is left of these maps without one of their networks; average more of them"
    elif len(values) > 1:
        reason = "which networks the maps are of is not recorded; say so by networks=[(A, B), ...]"
    return {"notes": {**notes, "stderr": reason} if len(values) > 1 else notes}


def _check_alike(first: SimilarityMap, other: SimilarityMap) -> None:
    """Raise ``MismatchError`` for maps that have no mean."""
    for key in ("layers_a", "layers_b", "n", "kernel", "pooled"):
        one, two = getattr(first, key), getattr(other, key)
        if one != two:
            raise MismatchError(
                f"maps to average differ in {key}: {one!r:.60} and {two!r:.60}; "
                "compare the same layers on the same examples for every seed"
            )


def best_match(values: np.ndarray, but: Mapping[int, int] | None = None) -> tuple[int | None, ...]:
    """For each row of (a, b) values the column of the largest; None if all are NaN.

    Args:
        values: (a, b) numbers.
        but: a column to pass over, by row.
    """
    left = np.array(values, float)
    for row, column in (but or {}).items():
        left[row, column] = np.nan
    return tuple(None if np.isnan(row).all() else int(np.nanargmax(row)) for row in left)


def own_cells(
    values: np.ndarray,
    name_a: str,
    name_b: str,
    layers_a: Sequence[str],
    layers_b: Sequence[str],
) -> dict[int, int]:
    """The column of the same layer by row, if a network is compared with itself; else none.

    Both sides have one name then, and each shared layer is as similar to itself as can be.
    """
    places = {layer: k for k, layer in enumerate(layers_b)}
    cells = {i: places[layer] for i, layer in enumerate(layers_a) if layer in places}
    own = np.array([values[i, j] for i, j in cells.items()], float)
    same = name_a == name_b and bool(np.all(np.isnan(own) | (np.abs(own - 1) < _SAME)))
    return cells if same else {}
