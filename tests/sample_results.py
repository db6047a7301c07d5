"""Results and their entries, with numbers for whatever a test does not care about."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from repsim.results import (
    Alpha,
    Examples,
    NullSpaceEntry,
    NullSpaceReport,
    ProbeCurve,
    ProbeEntry,
    Result,
    SimilarityMap,
    Verdict,
)
from repsim.results.records import Record


def number(
    quantity: str, part: str, value: float, group: str = "all", half: float = 0.01, **more: Any
) -> NullSpaceEntry:
    """A number of a report, with an interval of twice ``half`` about it."""
    levels = {"chance": 0.125, "chance_low": 0.1, "chance_high": 0.15}
    ends = {"low": value - half, "high": value + half}
    return NullSpaceEntry(
        quantity=quantity, part=part, group=group, value=value, **{**ends, **levels, **more}
    )


def probed(network: str, layer: str, depth: int, accuracy: float, **more: Any) -> ProbeEntry:
    """A probe of a curve."""
    made: dict[str, Any] = {"features": 8, "solver": "lbfgs", "n_train": 80}
    return ProbeEntry(
        network=network, layer=layer, depth=depth, accuracy=accuracy, **{**made, **more}
    )


def blank(value: Any) -> Any:
    """Records as dictionaries, with None in place of NaN, however deep: for comparison."""
    if isinstance(value, Record):
        return blank(asdict(value))
    if isinstance(value, dict):
        return {key: blank(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(blank(each) for each in value)
    return None if isinstance(value, float) and math.isnan(value) else value


def similarity(rng: np.random.Generator, **changes: Any) -> SimilarityMap:
    unbiased, biased = rng.normal(size=(2, 3, 2))
    unbiased[1, 0] = biased[1, 0] = np.nan
    made = SimilarityMap(
        layers_a=("stem", "bg1.b0.odd", "bg1.b0.even"),
        layers_b=("stem", "pooled"),
        unbiased=unbiased,
        biased=biased,
        n=100,
        name_a="simclr",
        name_b="supervised",
        kernel="rbf:0.2",
        notes={"simclr:bg1.b0.odd": "it holds NaN or infinity"},
        provenance={"a": {"seed": 1}, "bandwidth": {"x": 0.1}},
    )
    return replace(made, **changes)


def tables(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Everything that may stand beside the values."""
    made = {key: rng.uniform(size=(3, 2)) for key in ("stderr", "p_value", "p_value_max")}
    made["freedom"] = rng.integers(1, 9, size=(3, 2)).astype(float)
    for table in made.values():
        table[1, 0] = np.nan
    return made


def curve(network: str, accuracies: list[float], **changes: Any) -> ProbeCurve:
    entries = [
        probed(
            network, f"l{depth}", depth, accuracy, low=accuracy / 2, high=1.0,
            per_class=(accuracy, math.nan),
        )
        for depth, accuracy in enumerate(accuracies)
    ]  # fmt: skip
    made = ProbeCurve(entries, classes=10, n_train=80, n_test=20, solver="lbfgs")
    return replace(made, **changes)


#: Numbers of every kind, some of them missing.
ENTRIES = [
    number("energy", "row", 1 / 3, control=0.12, control_low=0.11, control_high=0.13),
    number("energy", "null", 2 / 3),
    number("gap", "null", 3.5, chance=math.nan, chance_low=math.nan, chance_high=math.nan),
    number("noise_share", "row", 0.2, "gaussian 0.25", low=math.nan, high=math.nan, note="few"),
    number("probe", "full", 0.9, "clean"),
    number("probe", "null", 0.875, "clean"),
    number("probe", "full", 0.5, "gaussian 0.25"),
    number("layer_energy", "null", math.nan, layer="conv1", rank=4, dim=16),
]
CLAIMS = [
    Verdict(
        claim="gap in row space",
        quantity="gap",
        part="row",
        group="all",
        statement="real and generated images are apart",
        value=3.5,
        low=math.nan,
        high=math.nan,
        side="above",
        against=0.1,
        verdict="undecided",
    )
]
EXAMPLES = Examples(
    group=("real", "real", "generated"),
    label=(3, 7, None),
    null_share=(0.25, 1 / 3, math.nan),
    logit=(1.5, -2.0, 0.1),
)
ALPHA = [
    Alpha(epoch=1.0, alpha_real=0.9, alpha_real_cv=1 / 3, alpha_fake=2.0, alpha_fake_cv=math.nan)
]


def report(**changes: Any) -> NullSpaceReport:
    made = NullSpaceReport(
        name="gan:discriminator",
        n=50,
        dim=8,
        rank=1,
        tolerance=1e-7,
        singular_values=[2.0, 0.1],
        residual=1e-16,
        entries=ENTRIES,
        claims=CLAIMS,
        examples=EXAMPLES,
        alpha=ALPHA,
        provenance={"head": "head"},
    )
    return replace(made, **changes)


def same(one: Result, two: Result) -> bool:
    """Equal field by field to the last bit; what was NaN in a record may be None."""
    assert type(one) is type(two)
    for f in fields(one):  # type: ignore[arg-type]
        x, y = getattr(one, f.name), getattr(two, f.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype == np.float64
            assert np.array_equal(x, y, equal_nan=True), f.name
        elif isinstance(x, float) and math.isnan(x):
            assert math.isnan(y), f.name
        else:
            assert blank(x) == blank(y), f.name
            assert type(x) is type(y), f.name
    return True
