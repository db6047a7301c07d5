"""Results: what survives a file, what is refused, tables, and what a result answers."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from entries import blank, number, probed

from repsim.errors import MismatchError, StoreError, UsageError
from repsim.results import (
    FORMAT_VERSION,
    Alpha,
    Examples,
    NullSpaceReport,
    ProbeCurve,
    Result,
    SimilarityMap,
    Verdict,
)


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


def every(rng: np.random.Generator) -> list[Result]:
    return [
        similarity(rng),
        similarity(rng, biased=None),
        similarity(rng, **tables(rng)),
        curve("simclr", [0.1, 1 / 3]),
        report(),
        report(claims=[], examples=Examples(), alpha=[], singular_values=[], entries=ENTRIES[-1:]),
    ]


# --- files


@pytest.mark.parametrize("k", range(6))
def test_what_is_saved_is_what_is_loaded(k: int, rng: np.random.Generator, tmp_path: Path) -> None:
    result = every(rng)[k]
    written = result.save(tmp_path / "deep" / "result.json")
    assert [path.name for path in written] == ["result.json", "result.csv"]
    assert same(Result.load(written[0]), result)
    assert same(type(result).load(str(written[0])), result)


def test_a_file_is_plain_json_without_nan(rng: np.random.Generator, tmp_path: Path) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["format"] == "repsim-result"
    assert content["format_version"] == FORMAT_VERSION
    assert content["kind"] == "similarity-map"
    assert content["unbiased"][1][0] is None


def test_provenance_may_hold_arrays_and_numpy_numbers(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    provenance = {"seed": np.int64(3), "shape": (2, 3), "mean": np.arange(2.0), 5: np.float32(0.5)}
    path, _ = similarity(rng, provenance=provenance).save(tmp_path / "map.json")
    expected = {"seed": 3, "shape": [2, 3], "mean": [0.0, 1.0], "5": 0.5}
    assert SimilarityMap.load(path).provenance == expected


@pytest.mark.parametrize("existing", ["result.json", "result.csv"])
def test_existing_files_stay_unless_told_otherwise(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(UsageError, match=f"{existing} exists already; .* --overwrite"):
        report().save(tmp_path / "result.json")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"
    report().save(tmp_path / "result.json", overwrite=True)
    assert same(Result.load(tmp_path / "result.json"), report())


def test_the_table_cannot_take_the_place_of_the_result(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the name of the table; give the result a .json name"):
        report().save(tmp_path / "result.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a repsim result, or cut short"),
        ('{"format": "repsim-result", "kind', "is not a repsim result, or cut short"),
        ("\x00\xff", "is not a repsim result"),
        ("[1, 2]", "is not a repsim result$"),
        ('{"kind": "similarity-map"}', "is not a repsim result$"),
        ('{"format": "repsim-result", "format_version": 1}', "unknown kind of result None"),
        ('{"format": "repsim-result", "kind": "heat"}', "unknown kind of result 'heat'"),
        (
            '{"format": "repsim-result", "kind": "probe-curve"}',
            r"not a whole probe-curve \(KeyError",
        ),
        (
            f'{{"format": "repsim-result", "format_version": {FORMAT_VERSION + 1}}}',
            f"has format version {FORMAT_VERSION + 1}; .* a newer repsim will read it",
        ),
    ],
)
def test_a_file_that_is_no_result_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=message):
        Result.load(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, _ = report().save(tmp_path / "result.json")
    whole = path.read_text()
    for length in range(0, len(whole.rstrip()), 7):
        path.write_text(whole[:length])
        with pytest.raises(StoreError, match="cut short"):
            Result.load(path)


def test_a_map_whose_values_do_not_fit_its_layers_is_refused(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")
    content = json.loads(path.read_text())
    content["layers_b"].append("head")
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="not a whole similarity-map"):
        Result.load(path)


def test_absent_files_folders_and_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no result .*absent.json"):
        Result.load(tmp_path / "absent.json")
    with pytest.raises(StoreError, match="is not a repsim result"):
        Result.load(tmp_path)
    path, _ = report().save(tmp_path / "result.json")
    with pytest.raises(StoreError, match="holds a null-space-report; expected a probe-curve"):
        ProbeCurve.load(path)


# --- tables


def test_the_table_of_a_map_has_a_line_for_every_pair(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    result = similarity(rng)
    _, path = result.save(tmp_path / "map.json")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["layer_a", "layer_b", "unbiased", "biased"]
    assert [(row["layer_a"], row["layer_b"]) for row in rows] == [
        (a, b) for a in result.layers_a for b in result.layers_b
    ]
    for name in ("unbiased", "biased"):
        found = np.array([float(row[name]) for row in rows]).reshape(3, 2)
        assert np.array_equal(found, result.values(name), equal_nan=True)


def test_the_table_has_a_column_for_what_the_map_holds_and_no_other(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    def columns(**changes: Any) -> list[str]:
        _, path = similarity(rng, **changes).save(tmp_path / "map.json", overwrite=True)
        return path.read_text().splitlines()[0].split(",")

    some = np.full((3, 2), 0.1)
    assert columns(biased=None) == ["layer_a", "layer_b", "unbiased"]
    assert columns(stderr=some)[4:] == ["stderr", "low", "high"]
    assert columns(p_value=some, p_value_max=some)[4:] == ["p_value", "p_value_max"]


def test_the_table_of_a_report_has_a_line_for_every_number(tmp_path: Path) -> None:
    _, path = report().save(tmp_path / "report.json")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    ends = [f"{number}{end}" for number in ("chance", "control") for end in ("", "_low", "_high")]
    numbers = ["value", "low", "high", *ends]
    assert list(rows[0]) == ["network", "quantity", "part", "group", "layer", *numbers, "note"]
    assert {row["network"] for row in rows} == {"gan:discriminator"}
    for row, expected in zip(rows, ENTRIES, strict=True):
        for key in ("quantity", "part", "group", "layer", "note"):
            assert row[key] == (getattr(expected, key) or "")
        found = [float(row[key] or "nan") for key in numbers]
        wanted = [getattr(expected, key) for key in numbers]
        assert np.array_equal(found, wanted, equal_nan=True)
    _, path = report(entries=[]).save(tmp_path / "empty.json")
    assert path.read_text().strip() == ""


def test_the_table_of_a_curve_is_its_entries_with_a_column_a_class(tmp_path: Path) -> None:
    _, path = curve("a", [0.25, 0.5]).save(tmp_path / "curve.json")
    head, first, second = path.read_text().splitlines()
    assert head.startswith("network,layer,depth,features,solver,component,label_fraction,labels,")
    assert head.endswith(",accuracy,low,high,train_accuracy,l2,converged,class_0,class_1")
    assert first == "a,l0,0,8,lbfgs,full,1.0,true,0,80,0.25,0.125,1.0,,,True,0.25,nan"
    assert second.startswith("a,l1,1,8,lbfgs,")


def test_dataframes_have_the_rows_of_the_table(rng: np.random.Generator) -> None:
    pytest.importorskip("pandas")
    for result in every(rng):
        frame = result.to_dataframe()
        assert len(frame) == len(result.rows())
        assert list(frame.columns) == list(result.rows()[0])


# --- maps


def test_the_best_match_passes_over_nan_and_is_none_without_a_value(
    rng: np.random.Generator,
) -> None:
    nan = np.nan
    unbiased = np.array([[0.1, 0.9], [nan, -0.2], [nan, nan]])
    result = similarity(rng, unbiased=unbiased, biased=1 - unbiased)
    assert result.best_match() == (1, 1, None)
    assert result.best_match("biased") == (0, 1, None)


def test_the_diagonal_is_of_networks_with_the_same_layers(rng: np.random.Generator) -> None:
    assert similarity(rng).diagonal() is None
    square = similarity(
        rng, layers_a=("x", "y"), layers_b=("x", "y"), unbiased=np.arange(4.0).reshape(2, 2)
    )
    assert square.diagonal().tolist() == [0, 3]


def test_a_part_of_a_map_keeps_the_order_asked_for(rng: np.random.Generator) -> None:
    result = similarity(rng)
    part = result.select(("bg1.b0.even", "stem"), ("pooled",))
    assert (part.layers_a, part.layers_b) == (("bg1.b0.even", "stem"), ("pooled",))
    assert np.array_equal(part.unbiased, result.unbiased[[2, 0]][:, [1]])
    assert np.array_equal(part.biased, result.biased[[2, 0]][:, [1]])
    assert part.n == result.n
    assert similarity(rng, biased=None).select(("stem",), ("stem",)).biased is None


def test_estimators_that_a_map_does_not_hold(rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="unknown estimator 'unbaised'; did you mean 'unbiased'"):
        similarity(rng).values("unbaised")
    with pytest.raises(UsageError, match="a map from minibatches has no biased values"):
        similarity(rng, biased=None).best_match("biased")


def test_a_part_of_a_map_keeps_all_its_tables(rng: np.random.Generator) -> None:
    result = similarity(rng, **tables(rng))
    part = result.select(("bg1.b0.even", "stem"), ("pooled",))
    for key in SimilarityMap.TABLES:
        assert np.array_equal(getattr(part, key), getattr(result, key)[[2, 0]][:, [1]]), key
    assert SimilarityMap.TABLES == ("unbiased", "biased", "stderr", "p_value", "p_value_max")
    assert similarity(rng).select(("stem",), ("stem",)).stderr is None


def test_the_interval_is_that_of_fishers_transform(rng: np.random.Generator) -> None:
    values = np.array([[0.5, -0.05], [np.nan, 0.99], [1.0, 0.0]])
    errors = np.array([[0.1, 0.02], [np.nan, 0.03], [1e-9, 0.1]])
    result = similarity(rng, unbiased=values, stderr=errors)
    low, high = result.interval()
    z = 1.959963984540054
    # d artanh(v) = dv / (1 - v²)
    assert low[0, 0] == pytest.approx(math.tanh(math.atanh(0.5) - z * 0.1 / 0.75), abs=1e-12)
    assert high[0, 0] == pytest.approx(math.tanh(math.atanh(0.5) + z * 0.1 / 0.75), abs=1e-12)
    assert (high[2, 1], low[2, 1]) == pytest.approx((math.tanh(z * 0.1), -math.tanh(z * 0.1)))
    assert np.isnan([low[1, 0], high[1, 0]]).all()
    assert (low[2, 0], high[2, 0]) == (1, 1)  # a layer and itself
    assert -1 < low[1, 1] < 0.99 < high[1, 1] < 1
    # Small errors: the plain interval, to second order.
    assert (high - low)[0, 1] == pytest.approx(2 * z * 0.02, rel=2e-3)
    narrow = result.interval(0.5)
    inside = ~np.isnan(values) & (values < 1)
    assert (low < narrow[0])[inside].all()
    assert (narrow[1] < high)[inside].all()
    assert narrow[0][2, 1] == pytest.approx(math.tanh(-0.6744897501960817 * 0.1))


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan])
def test_levels_that_cannot_be_are_refused(level: float, rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="level is .*; expected between 0 and 1, such as 0.95"):
        similarity(rng, **tables(rng)).interval(level)
    with pytest.raises(UsageError, match="this map has no standard errors; .* stderr=True"):
        similarity(rng).interval()


def test_a_file_of_before_there_were_errors_still_loads(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")
    content = json.loads(path.read_text())
    for key in ("stderr", "p_value", "p_value_max"):
        assert content.pop(key) is None
    path.write_text(json.dumps(content))
    assert same(SimilarityMap.load(path), similarity(np.random.default_rng(0)))


@pytest.mark.parametrize("key", ["stderr", "p_value", "p_value_max"])
@pytest.mark.parametrize("damage", ["much", [1, 2]])
def test_a_file_whose_errors_do_not_fit_is_refused(
    key: str, damage: Any, rng: np.random.Generator, tmp_path: Path
) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: damage}))
    with pytest.raises(StoreError, match="not a whole similarity-map"):
        SimilarityMap.load(path)


def test_the_table_has_the_ends_of_the_intervals(rng: np.random.Generator, tmp_path: Path) -> None:
    result = similarity(rng, unbiased=rng.uniform(size=(3, 2)), **tables(rng))
    _, path = result.save(tmp_path / "map.json")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = {key: getattr(result, key) for key in SimilarityMap.TABLES}
    expected["low"], expected["high"] = result.interval()
    assert set(rows[0]) == {"layer_a", "layer_b", *expected}
    for key, table in expected.items():
        found = np.array([float(row[key] or "nan") for row in rows]).reshape(3, 2)
        assert np.array_equal(found, table, equal_nan=True), key


# --- probe curves


def test_curves_are_joined_in_order_and_taken_apart_by_network() -> None:
    first = curve("simclr", [0.2, 0.6, 0.5], provenance={"seed": 1})
    second = curve("supervised", [0.3, 0.9])
    joined = ProbeCurve.join([first, second])
    assert joined.networks() == ["simclr", "supervised"]
    assert joined.of("supervised") == second.entries
    assert joined.best("simclr").layer == "l1"
    assert joined.provenance == {"simclr": {"seed": 1}, "supervised": {}}


def test_entries_of_a_network_are_in_order_of_depth() -> None:
    shuffled = curve("a", [0.1, 0.2, 0.3])
    shuffled.entries.reverse()
    assert [entry.depth for entry in shuffled.of("a")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_train": 81}, r"a was probed with 80 \+ 20 .*, b was probed with 81 \+ 20"),
        ({"n_test": 21}, r"b was probed with 80 \+ 21"),
        ({"classes": 7}, "of 10 classes .* of 7 classes"),
        ({"solver": "knn"}, "by lbfgs, .* by knn; probe networks alike"),
    ],
)
def test_curves_of_other_terms_are_not_joined(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        ProbeCurve.join([curve("a", [0.5]), curve("b", [0.5], **changes)])


# --- reports


def test_a_report_answers_by_quantity_part_group_and_layer() -> None:
    one = report()
    assert one.chance == 1 / 8
    assert one.find("energy", "row") is ENTRIES[0]
    assert one.value("energy", "null") == 2 / 3
    assert one.value("noise_share", "row", "gaussian 0.25") == 0.2
    assert one.find("layer_energy", "null", layer="conv1") is ENTRIES[-1]
    for absent in (("energy", "full"), ("noise_share", "row"), ("layer_energy", "null")):
        assert one.find(*absent) is None
        assert math.isnan(one.value(*absent))
    assert one.probes == {"full": 0.9, "null": 0.875}  # of clean features alone
    assert report(entries=[]).probes == {}


def test_what_is_missing_is_nan_after_loading_too(tmp_path: Path) -> None:
    loaded = NullSpaceReport.load(report().save(tmp_path / "report.json")[0])
    assert math.isnan(loaded.find("gap", "null").chance)
    assert math.isnan(loaded.find("noise_share", "row", "gaussian 0.25").low)
    assert math.isnan(loaded.value("layer_energy", "null", layer="conv1"))
    assert math.isnan(loaded.claims[0].low)
    assert loaded.entries[0] == ENTRIES[0]  # and nothing else is
    assert loaded.examples.label == EXAMPLES.label
    assert math.isnan(loaded.examples.null_share[2])
    assert math.isnan(loaded.alpha[0].alpha_fake_cv)


def test_subscripts_of_entries_work_for_one_release_with_a_warning() -> None:
    with pytest.warns(
        FutureWarning, match=r"NullSpaceEntry\['value'\] is now NullSpaceEntry.value"
    ):
        assert ENTRIES[0]["value"] == 1 / 3
    with pytest.warns(FutureWarning, match=r"Examples\['lambda'\] is now Examples.along_ones"):
        assert EXAMPLES["lambda"] == ()
    with pytest.raises(KeyError, match="valeu"):
        ENTRIES[0]["valeu"]
    with pytest.raises(TypeError, match="not iterable"):
        list(ENTRIES[0])  # type: ignore[call-overload]


DAMAGE = {
    "entries": [None, {}, [1, 2], ["energy"], [None], [{}]],
    "claims": [None, {}, [{}], [{"verdict": "supported"}]],
    "examples": [None, [], {"label": "few"}, {"logit": ["one"]}],
    "alpha": [None, {}, [{"epoch": 1}]],
    "singular_values": [None, 2.0],
    "n": [None, "50"],
    "rank": ["one", 1.5],
    "name": [None, 3],
    "residual": ["none"],
    "provenance": [[]],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, each in DAMAGE.items() for v in each])
def test_a_damaged_report_is_refused_in_one_line(key: str, value: Any, tmp_path: Path) -> None:
    path, _ = report().save(tmp_path / "report.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(StoreError, match="not a whole null-space-report") as caught:
        Result.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [f.name for f in fields(NullSpaceReport)])
def test_a_report_without_a_field_is_refused(key: str, tmp_path: Path) -> None:
    path, _ = report().save(tmp_path / "report.json")
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=rf"not a whole null-space-report \(KeyError\('{key}'"):
        Result.load(path)


def test_a_report_of_before_there_were_entries_is_refused(tmp_path: Path) -> None:
    old = {"name": "gan", "n": 50, "dim": 8, "rank": 1, "tolerance": 1e-7, "residual": 1e-16}
    old |= {"singular_values": [2.0], "row_energy": 0.3, "row_energy_centred": 0.1}
    old |= {"chance": 0.125, "constancy": 0.5, "probes": {"full": 0.9}, "provenance": {}}
    head = {"format": "repsim-result", "format_version": 1, "kind": "null-space-report"}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(head | old))
    with pytest.raises(StoreError, match="old.json: not a whole null-space-report") as caught:
        NullSpaceReport.load(path)
    assert "\n" not in str(caught.value)


def test_engine_results_survive_a_file(rng: np.random.Generator, tmp_path: Path) -> None:
    from repsim import MinibatchCKA, cka_map, null_space

    x = rng.normal(size=(20, 5))
    engine = MinibatchCKA(["x"], ["x"])
    engine.update({"x": x}, {"x": x})
    results = [
        cka_map({"x": x, "nan": x * np.nan}, kernel="rbf"),
        cka_map({"x": x}, {"y": x[:, :2]}, permutations=9),
        engine.compute(),
        null_space(torch.tensor(x), np.zeros((2, 5)), labels=np.arange(20) % 2),
    ]
    for k, result in enumerate(results):
        assert same(Result.load(result.save(tmp_path / f"{k}.json")[0]), result)
