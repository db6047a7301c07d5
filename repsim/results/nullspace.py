"""Parts of a feature space that a linear head sees, and does not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from repsim.results.base import Result
from repsim.results.records import REQUIRED, SPARSE, Record


@dataclass(frozen=True, kw_only=True)
class NullSpaceEntry(Record):
    """One number about the features that a head takes, or another layer.

    Attributes:
        quantity: such as ``energy`` or ``probe``.
        part: of the space: ``row``, ``null``, ``full``, or a difference as in ``full - null``.
        group: of the examples: ``all``, ``class 3``, ``generated``, ``gaussian 0.25``, ``clean``.
        layer: address of another layer than the head; None for the head's features.
        rank: of the weight of that layer, or None.
        dim: columns of the weight of that layer, or None.
        value: the number; NaN where there is no energy to share out.
        low: lower end of its 95 % interval; NaN where it is undefined.
        high: upper end.
        chance: median over random subspaces of the same rank; NaN where there is none.
        chance_low: 5th percentile over them.
        chance_high: 95th percentile.
        note: the reason for a number that is missing, or empty.
        control: the value of the untrained network; NaN where it was not measured.
        control_low: lower end of its interval.
        control_high: upper end.
    """

    quantity: str
    part: str
    group: str
    layer: str | None = field(default=None, metadata=SPARSE)
    rank: int | None = field(default=None, metadata=SPARSE)
    dim: int | None = field(default=None, metadata=SPARSE)
    value: float
    low: float
    high: float
    chance: float
    chance_low: float
    chance_high: float
    note: str = ""
    control: float = field(default=math.nan, metadata=SPARSE)
    control_low: float = field(default=math.nan, metadata=SPARSE)
    control_high: float = field(default=math.nan, metadata=SPARSE)

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """Quantity, part, group and layer, which no two entries of a report share."""
        return self.quantity, self.part, self.group, self.layer


Side = Literal["below", "above", "beside"]
Outcome = Literal["supported", "not supported", "undecided", "reported"]


@dataclass(frozen=True)
class Verdict(Record):
    """A claim of Mao et al. held against a number and its interval.

    Attributes:
        claim: ``as trained`` (a discriminator calls images what it called them in training),
            ``classes in null space`` (Corollary 4), ``Theorem 1`` (the null space does not tell
            generated images from real ones), ``gap in row space`` and ``noise`` (beside it),
            ``constant ratio`` (Corollaries 1 to 4), ``scatter in row space`` and ``Theorems 2-3``.
        quantity: of the entry that decides.
        part: of the space, or two parts and their difference.
        group: of the examples.
        statement: one sentence, with the numbers.
        value: the number that decides.
        low: lower end of its 95 % interval.
        high: upper end.
        side: where it has to lie, ``below`` or ``above`` the next; ``beside`` of a number that
            decides nothing.
        against: the bound; of several, the one that is hardest to meet. ``beside``: a number to
            compare with; NaN where there is none.
        verdict: ``supported`` or ``not supported`` if the whole interval lies on one side,
            otherwise ``undecided``; ``reported`` without a bound.
    """

    claim: str
    quantity: str
    part: str
    group: str
    statement: str
    value: float
    low: float
    high: float
    side: Side
    against: float
    verdict: Outcome


@dataclass(frozen=True, kw_only=True)
class Examples(Record):
    """Columns of numbers of some examples, for figures; a column that is not known is empty.

    Attributes:
        group: (m,) ``real`` or ``generated``.
        label: (m,) class of each, or generator of a generated one; None where unknown.
        null_share: (m,) share of |f|² in the null space; NaN of a feature that is zero.
        logit: (m,) output of a head with one.
        along_ones: (m,) λ, how far each lies along the direction f_r1 that softmax ignores, of a
            head with several outputs; ``lambda`` in files.
        classes: (k,) name of each class of real examples; empty where classes are numbers alone.
    """

    group: tuple[str, ...] = field(default=(), metadata=SPARSE)
    label: tuple[int | None, ...] = field(default=(), metadata=SPARSE)
    null_share: tuple[float, ...] = field(default=(), metadata=SPARSE)
    logit: tuple[float, ...] = field(default=(), metadata=SPARSE)
    along_ones: tuple[float, ...] = field(default=(), metadata={**SPARSE, "key": "lambda"})
    classes: tuple[str, ...] = field(default=(), metadata=SPARSE)

    def __len__(self) -> int:
        return len(self.group)

    def named(self, classes: Sequence[str]) -> Examples:
        """The same with the names of the classes, unless these are their numbers."""
        numbers = [str(number) for number in range(len(classes))]
        return self if list(classes) == numbers else replace(self, classes=tuple(classes))


@dataclass(frozen=True, kw_only=True)
class Alpha(Record):
    """α = p_g / p_r as a discriminator saw it after an epoch of training.

    Attributes:
        epoch: number of epochs done.
        alpha_real: mean of α over real images.
        alpha_real_cv: its coefficient of variation.
        alpha_fake: mean of α over generated images.
        alpha_fake_cv: its coefficient of variation.
        alpha_batches: batches of each side that the statistics of batch normalisation were taken
            over, each side being seen with its own; NaN of running statistics, which mix both.
    """

    epoch: float
    alpha_real: float
    alpha_real_cv: float
    alpha_fake: float
    alpha_fake_cv: float
    alpha_batches: float = field(default=math.nan, metadata=SPARSE)


@dataclass(frozen=True, eq=False)
class NullSpaceReport(Result):
    """Numbers on the features f of a linear head y = A f + b: the part it sees and the rest.

    f = f_r + f_n with f_r = P f, P = A⁺A the projector onto the row space of A, and f_n in its
    null space, which no output of the head depends on (Mao et al., Propositions 4 and 5).

    Attributes:
        name: of the network that the features belong to.
        n: number of examples.
        dim: columns of the features, d.
        rank: numerical rank r of A.
        tolerance: singular values of A at most this count as zero.
        singular_values: of A, in falling order.
        residual: largest |A f_n| relative to |A||f|; rounding alone.
        entries: one for each number.
        claims: verdicts on the claims made for such heads.
        examples: numbers of some examples, for figures.
        alpha: one for each epoch of training, where it was recorded.
        provenance: where the numbers come from.
    """

    kind: ClassVar[str] = "null-space-report"

    #: Lines of a summary: name, quantity, part and group.
    SUMMARY: ClassVar[tuple[tuple[str, str, str, str], ...]] = (
        ("energy in the null space", "energy", "null", "all"),
        ("the same, centred", "energy_centred", "null", "all"),
        ("|std| / |mean| of the row part", "constancy", "row", "all"),
        ("within / between scatter, row part", "scatter_ratio", "row", "all"),
        ("the same without the all-ones direction", "scatter_ratio", "row without ones", "all"),
        ("within / between scatter, null part", "scatter_ratio", "null", "all"),
        ("scatter along the all-ones direction", "ones_share", "row", "all"),
        ("coefficient of variation of α", "alpha_cv", "row", "all"),
        ("real-generated gap in the row space", "gap", "row", "all"),
        ("real or generated, by all features", "real_fake_probe", "full", "all"),
        ("real or generated, by the row part", "real_fake_probe", "row", "all"),
        ("real or generated, by the null part", "real_fake_probe", "null", "all"),
        ("probe on all features", "probe", "full", "clean"),
        ("probe on the row part", "probe", "row", "clean"),
        ("probe on the null part", "probe", "null", "clean"),
    )

    name: str
    n: int
    dim: int
    rank: int
    tolerance: float
    singular_values: list[float]
    residual: float
    entries: list[NullSpaceEntry]
    claims: list[Verdict] = field(default_factory=list, metadata=REQUIRED)
    examples: Examples = field(default_factory=Examples, metadata=REQUIRED)
    alpha: list[Alpha] = field(default_factory=list, metadata=REQUIRED)
    provenance: dict[str, Any] = field(default_factory=dict, metadata=REQUIRED)

    @property
    def chance(self) -> float:
        """r / d, the share of energy that isotropic features would have in the row space."""
        return self.rank / self.dim

    @property
    def probes(self) -> dict[str, float]:
        """Accuracy of a linear probe on each part of clean features, where there were labels."""
        return {
            entry.part: entry.value
            for entry in self.entries
            if (entry.quantity, entry.group) == ("probe", "clean")
        }

    def find(
        self, quantity: str, part: str, group: str = "all", layer: str | None = None
    ) -> NullSpaceEntry | None:
        """The entry of a quantity, part and group (and layer), or None."""
        wanted = (quantity, part, group, layer)
        return next((entry for entry in self.entries if entry.key == wanted), None)

    def value(
        self, quantity: str, part: str, group: str = "all", layer: str | None = None
    ) -> float:
        """The value of that entry; NaN if there is none, as of a part that is empty."""
        entry = self.find(quantity, part, group, layer)
        return math.nan if entry is None else entry.value

    def summary(self) -> list[tuple[str, NullSpaceEntry]]:
        """The numbers that say most, of those there are: a name for each, and its entry."""
        found = ((name, self.find(*key)) for name, *key in self.SUMMARY)
        return [(name, entry) for name, entry in found if entry is not None]

    def __str__(self) -> str:
        """The summary as a table in plain text."""
        title = f"{self.name}: n = {self.n:,}, rank {self.rank} of {self.dim}"
        lines = [f"{title:40} {'value':>9}  {'95 % interval':^20} {'chance':>9} {'untrained':>9}"]
        for name, entry in self.summary():
            ends = f"{entry.low:.4g} to {entry.high:.4g}"
            levels = f"{entry.chance:9.4g} {entry.control:9.4g}"
            lines.append(f"{name:40} {entry.value:9.4g}  {ends:^20} {levels}")
        return "\n".join(lines)

    def headline(self) -> str:
        probes = ", ".join(f"{part} {value:.3f}" for part, value in self.probes.items())
        accuracy = f"; probes: {probes}" if probes else ""
        about = f"n = {self.n:,}, rank {self.rank} of {self.dim}"
        held = f"{len(self.entries)} numbers, {len(self.claims)} claims"
        return f"{self.name:.40}: {about}, {held}{accuracy}"

    def preview(self) -> list[dict[str, Any]]:
        """The summary."""
        keys = ("value", "low", "high", "chance")
        return [
            {"": name, **{key: getattr(entry, key) for key in keys}}
            for name, entry in self.summary()
        ]

    def rows(self) -> list[dict[str, Any]]:
        """A row a number; None, an empty cell, where the untrained network has none."""
        chance = ("chance", "chance_low", "chance_high")
        before = ("control", "control_low", "control_high")
        keys = ("quantity", "part", "group", "layer", "value", "low", "high", *chance, *before)
        return [
            {
                "network": self.name,
                **{key: getattr(entry, key) for key in (*keys, "note")},
                **{key: None for key in before if math.isnan(getattr(entry, key))},
            }
            for entry in self.entries
        ]
