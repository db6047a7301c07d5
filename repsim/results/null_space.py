"""Parts of a feature space that a linear head sees, and does not see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from repsim.results.base import Result, check_type, or_nan, with_nan

#: What is a number in an entry or a claim of a report.
_NUMBERS = (
    *("value", "low", "high", "chance", "chance_low", "chance_high", "against"),
    *("control", "control_low", "control_high"),
)


@dataclass(frozen=True, eq=False)
class NullSpaceReport(Result):
    """What a linear head y = A f + b can and cannot see of its features f.

    f = f_r + f_n with f_r = P f, P = A⁺A the projector onto the row space of A, and f_n in its
    null space, which no output of the head depends on (Mao et al., Propositions 4 and 5).

    Attributes:
        name: what the features belong to.
        n: number of examples.
        dim: columns of the features, d.
        rank: numerical rank r of A.
        tolerance: singular values of A at most this count as zero.
        singular_values: of A, in falling order.
        residual: largest |A f_n| relative to |A||f|; rounding alone.
        entries: a record a number: ``quantity``, ``part`` (of the space), ``group`` (of the
            examples), ``layer`` (where it is of another layer than the head), ``value``, ``low``
            and ``high`` (its 95 % interval), ``chance``, ``chance_low`` and ``chance_high``
            (median, 5th and 95th percentile over random subspaces of the same rank), ``note`` (why
            one is missing), and where there is an untrained network to compare with ``control``,
            ``control_low`` and ``control_high``.
        claims: a record a claim: ``claim``, ``quantity``, ``part``, ``group``, ``statement``,
            ``value``, ``low``, ``high``, ``side`` (``below`` or ``above``), ``against``, and
            ``verdict``: supported, not supported or undecided.
        examples: for figures, columns of some of the examples: ``group`` (``real`` or
            ``generated``), ``label``, ``null_share`` (of |f|²), and ``logit`` of a head with one or
            ``lambda`` of a head with several.
        alpha: α = p_g / p_r after each epoch of training, where it was recorded: ``epoch``,
            ``alpha_real``, ``alpha_real_cv``, ``alpha_fake``, ``alpha_fake_cv``.
        provenance: where the numbers come from.
    """

    kind: ClassVar[str] = "null-space-report"

    #: What a summary has: what to call it, quantity, part and group.
    SUMMARY: ClassVar[tuple[tuple[str, str, str, str], ...]] = (
        ("energy in the null space", "energy", "null", "all"),
        ("the same, centred", "energy_centred", "null", "all"),
        ("|std| / |mean| of the row part", "constancy", "row", "all"),
        ("within / between scatter, row part", "scatter_ratio", "row", "all"),
        ("within / between scatter, null part", "scatter_ratio", "null", "all"),
        ("scatter along the all-ones direction", "ones_share", "row", "all"),
        ("coefficient of variation of α", "alpha_cv", "row", "all"),
        ("real-generated gap in the row space", "gap", "row", "all"),
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
    entries: list[dict[str, Any]]
    claims: list[dict[str, Any]] = field(default_factory=list)
    examples: dict[str, list[Any]] = field(default_factory=dict)
    alpha: list[dict[str, float]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> NullSpaceReport:
        report = super()._from_dict(content)
        for f in fields(cls):  # before anything is made of them
            check_type(f.name, f.type, getattr(report, f.name))
        return replace(
            report,
            entries=[with_nan(entry, _NUMBERS) for entry in report.entries],
            claims=[with_nan(claim, _NUMBERS) for claim in report.claims],
            alpha=[with_nan(row, row) for row in report.alpha],
            examples={
                key: values if key in ("group", "label") else [or_nan(value) for value in values]
                for key, values in report.examples.items()
            },
        )

    @property
    def chance(self) -> float:
        """r / d, the share of energy that isotropic features would have in the row space."""
        return self.rank / self.dim

    @property
    def probes(self) -> dict[str, float]:
        """Accuracy of a linear probe on each part of clean features, where there were labels."""
        return {
            entry["part"]: entry["value"]
            for entry in self.entries
            if (entry["quantity"], entry["group"]) == ("probe", "clean")
        }

    def find(
        self, quantity: str, part: str, group: str = "all", layer: str | None = None
    ) -> dict[str, Any] | None:
        """The entry of a quantity, part and group (and layer), or None."""
        for entry in self.entries:
            keys = (entry["quantity"], entry["part"], entry["group"], entry.get("layer"))
            if keys == (quantity, part, group, layer):
                return entry
        return None

    def value(
        self, quantity: str, part: str, group: str = "all", layer: str | None = None
    ) -> float:
        """The value of that entry; NaN if there is none, as of a part that is empty."""
        entry = self.find(quantity, part, group, layer)
        return math.nan if entry is None else entry["value"]

    def summary(self) -> list[tuple[str, dict[str, Any]]]:
        """The numbers that say most, of those there are: what to call each, and its entry."""
        found = ((name, self.find(*key)) for name, *key in self.SUMMARY)
        return [(name, entry) for name, entry in found if entry is not None]

    def __str__(self) -> str:
        """The summary as a table in plain text."""
        title = f"{self.name}: n = {self.n:,}, rank {self.rank} of {self.dim}"
        lines = [f"{title:40} {'value':>9}  {'95 % interval':^20} {'chance':>9} {'untrained':>9}"]
        for name, entry in self.summary():
            value, low, high, chance, control = (
                math.nan if entry.get(key) is None else entry[key]
                for key in ("value", "low", "high", "chance", "control")
            )
            ends = f"{low:.4g} to {high:.4g}"
            lines.append(f"{name:40} {value:9.4g}  {ends:^20} {chance:9.4g} {control:9.4g}")
        return "\n".join(lines)

    def rows(self) -> list[dict[str, Any]]:
        """A row a number."""
        keys = (
            *("quantity", "part", "group", "layer", "value", "low", "high"),
            *("chance", "chance_low", "chance_high", "control", "control_low", "control_high"),
            "note",
        )
        return [
            {"network": self.name, **{key: entry.get(key) for key in keys}}
            for entry in self.entries
        ]
