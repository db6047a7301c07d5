"""The report of a head: probes on clean and noisy parts, the control, claims, examples."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sample_results import blank, number
from torch import Tensor

from repsim.confidence import wilson
from repsim.errors import MismatchError, StoreError
from repsim.nullspace import all_ones, null_space, report, row_space, verdicts
from repsim.nullspace.report import judged, with_layers
from repsim.probes import ProbeResult, probe
from repsim.results import NullSpaceEntry, NullSpaceReport

#: Intervals and chance of few draws: quick, and no test looks at their width.
FEW = {"draws": 20, "resamples": 20}
CLASSES, WIDTH, KNOWN, HELD = 3, 12, 120, 75
PARTS = ("full", "row", "null")
#: Quantities of real and generated images together.
OF_BOTH = ("gap", "real_fake_probe", "real_fake_difference")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def classes(n: int, count: int = CLASSES) -> Tensor:
    return torch.arange(n) % count


def images(n: int, seed: int) -> Tensor:
    """Features whose classes lie apart, a little in every direction."""
    return normal(n, WIDTH, seed=seed) + 1.2 * normal(CLASSES, WIDTH, seed=99)[classes(n)] + 1


def given(out: int = 2, **changes: Any) -> dict[str, Any]:
    """All that a report can be made of; a change to None leaves something out."""
    held = images(HELD, 2)
    made = {
        "features": images(KNOWN, 1),
        "weight": normal(out, WIDTH, seed=3),
        "bias": normal(out, seed=4),
        "labels": classes(KNOWN),
        "test_features": held,
        "test_labels": classes(HELD),
        "generated": images(HELD, 5) + normal(WIDTH, seed=6),
        "generated_labels": classes(HELD, 2),
        "noisy": {
            "gaussian 0.5": held + 0.5 * normal(HELD, WIDTH, seed=7),
            "gaussian 2": held + 2 * normal(HELD, WIDTH, seed=7) + normal(WIDTH, seed=8),
        },
        **FEW,
    }
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


def made(out: int = 2, **changes: Any) -> NullSpaceReport:
    return null_space(**given(out, **changes))


@pytest.fixture(scope="module")
def whole() -> NullSpaceReport:
    return made()


@pytest.fixture(scope="module")
def unprobed() -> NullSpaceReport:
    """Classes, but no training labels, hence no probes, which take the most time."""
    return made(labels=None)


@pytest.fixture(scope="module")
def control() -> NullSpaceReport:
    """The same images by another network."""
    names = ("features", "test_features", "generated")
    turned = {key: given()[key] @ normal(WIDTH, WIDTH, seed=20) for key in names}
    held = turned["test_features"]
    noisy = {"gaussian 0.5": held + 0.1 * normal(HELD, WIDTH, seed=7)}
    weight = normal(2, WIDTH, seed=21)
    return made(weight=weight, noisy=noisy, **turned)


def part_of(features: Tensor, part: str) -> Tensor:
    if part == "full":
        return features
    row, null = row_space(given()["weight"]).split(features)
    return row if part == "row" else null


def probes() -> dict[str, ProbeResult]:
    """Probes on each part of the clean features, one call each."""
    arrays = given()
    return {
        part: probe(
            part_of(arrays["features"], part),
            arrays["labels"],
            test_features=part_of(arrays["test_features"], part),
            test_labels=arrays["test_labels"],
            seed=0,
        )
        for part in PARTS
    }


def keys(found: NullSpaceReport) -> list[tuple]:
    return [entry.key for entry in found.entries]


def quantities(found: NullSpaceReport) -> set[str]:
    return {entry.quantity for entry in found.entries}


# --- probes


def test_probes_on_clean_parts_are_those_of_separate_calls(whole: NullSpaceReport) -> None:
    for part, expected in probes().items():
        entry = whole.find("probe", part, "clean")
        assert entry.value == expected.accuracy
        assert (entry.low, entry.high) == (expected.low, expected.high)
        assert {entry.chance, entry.chance_low, entry.chance_high} == {1 / CLASSES}
        assert entry.note == ""
        assert whole.probes[part] == expected.accuracy
    assert len({*whole.probes.values()}) == 3  # each part has a probe of its own
    assert whole.probes["full"] > 0.8


def test_noisy_parts_are_read_by_the_probes_of_clean_ones(whole: NullSpaceReport) -> None:
    found, labels = probes(), given()["test_labels"]
    again = []
    for name, noisy in given()["noisy"].items():
        for part in PARTS:
            hits = found[part].predict(part_of(noisy, part)) == labels
            entry = whole.find("probe", part, name)
            assert entry.value == float(hits.double().mean())
            assert (entry.low, entry.high) == wilson(entry.value, HELD)
            assert entry.chance == 1 / CLASSES
            trained = probe(part_of(noisy, part), labels, test_features=part_of(noisy, part),
                            test_labels=labels)  # fmt: skip
            again.append(trained.accuracy - entry.value)
    assert max(again) > 0.1  # a probe that was trained on noise would know more
    values = [whole.value("probe", "full", name) for name in ("clean", *given()["noisy"])]
    assert values == sorted(values, reverse=True)


def test_differences_of_probes_are_paired(whole: NullSpaceReport) -> None:
    found, labels = probes(), given()["test_labels"].numpy()
    shown = {"clean": given()["test_features"], **given()["noisy"]}
    widths = []
    for group, features in shown.items():
        hits = {
            part: found[part].predict(part_of(features, part)).numpy() == labels for part in PARTS
        }
        for other in ("row", "null"):
            lost = int((hits["full"] & ~hits[other]).sum())
            won = int((hits[other] & ~hits["full"]).sum())
            entry = whole.find("probe_difference", f"full - {other}", group)
            assert entry.value == pytest.approx((lost - won) / HELD, abs=1e-15)
            # Half a pair more of each kind, then the variance of -1, 0 and 1.
            pairs = np.repeat(
                [-1.0, 0, 1], [2 * won + 1, 2 * (HELD - won - lost) + 2, 2 * lost + 1]
            )
            reach = 1.959963984540054 * pairs.std() / math.sqrt(HELD + 2)
            assert entry.high == pytest.approx(pairs.mean() + reach, rel=1e-12)
            assert entry.low == pytest.approx(pairs.mean() - reach, rel=1e-12)
            assert (entry.chance, entry.note) == (0.0, "")
            apart = sum(hits[part].mean() * (1 - hits[part].mean()) for part in ("full", other))
            widths.append(reach / (1.959963984540054 * math.sqrt(apart / HELD)))
    assert min(widths) < 0.9  # two accuracies taken apart would be less certain
    difference = whole.value("probe", "full", "clean") - whole.value("probe", "null", "clean")
    assert whole.value("probe_difference", "full - null", "clean") == pytest.approx(difference)


def test_without_held_out_features_a_fifth_of_all_is_held_out() -> None:
    features = given()["features"]
    noisy = {"gaussian 1": features + normal(KNOWN, WIDTH, seed=7)}
    found = made(test_features=None, test_labels=None, noisy=noisy)
    expected = probe(features, given()["labels"], seed=0)
    assert (found.n, expected.n_test) == (KNOWN, KNOWN // 5)
    entry = found.find("probe", "full", "clean")
    assert (entry.value, entry.low, entry.high) == (
        expected.accuracy,
        expected.low,
        expected.high,
    )
    # The displacements are of all examples, but a probe has seen most of them.
    assert found.find("noise_share", "row", "gaussian 1")
    assert found.find("probe", "full", "gaussian 1") is None
    assert found.find("probe_difference", "full - null", "gaussian 1") is None


def test_the_seed_of_the_report_is_that_of_its_probes() -> None:
    found = made(test_features=None, test_labels=None, noisy=None, seed=3)
    expected = probe(given()["features"], given()["labels"], seed=3)
    assert found.probes["full"] == expected.accuracy
    seeds = range(3)
    accuracies = {probe(given()["features"], given()["labels"], seed=k).accuracy for k in seeds}
    assert len(accuracies) > 1


# --- what arrives decides what is reported


def test_without_labels_there_are_no_probes_and_no_classes(whole: NullSpaceReport) -> None:
    found = made(labels=None, test_labels=None, generated_labels=None)
    assert found.probes == {}
    of_classes = {"probe", "probe_difference", "scatter_ratio", "displacement_share", "ones_share"}
    assert of_classes <= quantities(whole)
    assert not of_classes & quantities(found)
    assert {entry.group for entry in found.entries} == {
        *("all", "generated", "real-fake"),
        *given()["noisy"],
    }
    assert set(found.examples.label) == {None}


def test_labels_of_held_out_images_alone_train_no_probe(
    whole: NullSpaceReport, unprobed: NullSpaceReport
) -> None:
    assert unprobed.probes == {}
    rest = [entry for entry in whole.entries if not entry.quantity.startswith("probe")]
    assert blank(unprobed.entries) == blank(rest)
    assert unprobed.find("scatter_ratio", "row")


def test_without_generated_images_nothing_is_said_of_them(unprobed: NullSpaceReport) -> None:
    found = made(labels=None, generated=None, generated_labels=None)
    expected = [key for key in keys(unprobed) if key[0] not in OF_BOTH]
    expected = [key for key in expected if not key[2].startswith(("generated", "real-fake"))]
    assert keys(found) == expected
    assert set(found.examples.group) == {"real"}
    assert {*OF_BOTH} == quantities(unprobed) - quantities(found)
    groups = {"generated", "real-fake", "generated class 0", "generated class 1"}
    assert groups == {k[2] for k in keys(unprobed)} - {k[2] for k in keys(found)}
    unlabelled = made(labels=None, generated_labels=None)
    assert unlabelled.find("energy", "row", "generated class 0") is None


def test_without_noise_nothing_is_said_of_it(unprobed: NullSpaceReport) -> None:
    found = made(labels=None, noisy=None)
    assert keys(found) == [key for key in keys(unprobed) if key[2] not in given()["noisy"]]
    assert found.value("noise_share", "row", "real-fake") > 0
    for key in keys(found):
        assert found.value(*key) == unprobed.value(*key)


def test_every_number_has_a_key_of_its_own(whole: NullSpaceReport) -> None:
    assert len(set(keys(whole))) == len(whole.entries)
    for entry in whole.entries:
        assert entry.low <= entry.value + 1e-12 or "interval" in entry.note
        assert math.isnan(entry.control)
    assert (whole.n, whole.dim, whole.rank, whole.name) == (HELD, WIDTH, 2, "features")
    assert whole.alpha == []
    assert whole.provenance == {}


# --- the control


def test_each_number_stands_beside_that_of_the_control(
    whole: NullSpaceReport, control: NullSpaceReport
) -> None:
    shuffled = replace(control, entries=control.entries[::-1])
    found = made(control=shuffled)
    assert keys(found) == keys(whole)
    alone = []
    for entry, own in zip(found.entries, whole.entries, strict=True):
        other = control.find(own.quantity, own.part, own.group)
        alone += [own.group] if other is None else []
        if other is not None:
            ends = {"control_low": other.low, "control_high": other.high}
            own = replace(own, control=other.value, **ends)
        assert blank(entry) == blank(own)
    assert set(alone) == {"gaussian 2"}  # that noise the control has not seen
    assert found.value("energy", "row") != found.find("energy", "row").control
    assert found.find("probe", "full", "clean").control == control.probes["full"]
    assert found.examples == whole.examples


def test_a_control_loaded_from_a_file_is_as_good(
    whole: NullSpaceReport, control: NullSpaceReport, tmp_path: Path
) -> None:
    loaded = NullSpaceReport.load(control.save(tmp_path / "control.json")[0])
    assert judged(whole, loaded).to_dict() == judged(whole, control).to_dict()


@pytest.mark.parametrize("out", [1, 2])
def test_claims_are_the_verdicts_on_the_entries(out: int) -> None:
    before = made(out, weight=normal(out, WIDTH, seed=30))
    alone = made(out)
    beside = judged(alone, before)
    isotropic = out / WIDTH
    assert blank(alone.claims) == blank(verdicts(alone.entries, isotropic=isotropic))
    both = verdicts(alone.entries, control=before.entries, isotropic=isotropic)
    assert blank(beside.claims) == blank(both)
    names = {
        1: {"classes in null space", "gap in row space", "noise", "constant ratio", "Theorem 1"},
        2: {"scatter in row space", "Theorems 2-3"},
    }
    assert {claim.claim for claim in alone.claims} == names[out]
    assert [c.claim for c in beside.claims] == [c.claim for c in alone.claims]
    assert not any("untrained" in claim.statement for claim in alone.claims)
    assert all("untrained" in claim.statement for claim in beside.claims)
    if out == 2:  # the classes of a generated image are its generators
        assert {claim.group for claim in alone.claims} == {"generated"}


def test_a_control_of_other_features_or_examples_is_refused(control: NullSpaceReport) -> None:
    message = r"the control has 75 examples of 13 features, features 75 of 12; expected the same"
    with pytest.raises(MismatchError, match=message):
        made(control=replace(control, dim=13), labels=None)
    with pytest.raises(MismatchError, match=r"the control has 74 examples of 12 features"):
        made(control=replace(control, n=74), labels=None)


# --- other layers


def layers(value: float) -> list[NullSpaceEntry]:
    return [
        number("layer_energy", "null", value, layer=layer, rank=2, dim=9)
        for layer in ("conv1", "conv2")
    ]


def test_other_layers_come_after_the_head_and_have_their_own_control(
    whole: NullSpaceReport, control: NullSpaceReport
) -> None:
    found = with_layers(whole, layers(0.5))
    assert found.entries[:-2] == whole.entries
    assert whole.find("layer_energy", "null", layer="conv1") is None  # as it was
    entry = found.find("layer_energy", "null", layer="conv2")
    assert blank(entry) == blank(layers(0.5)[1])
    before = with_layers(control, layers(0.25)[:1])
    both = judged(found, before)
    assert both.find("layer_energy", "null", layer="conv1").control == 0.25
    assert math.isnan(both.find("layer_energy", "null", layer="conv2").control)
    assert both.find("energy", "row").control == control.value("energy", "row")


def test_claims_are_of_the_head_alone(whole: NullSpaceReport, control: NullSpaceReport) -> None:
    """An entry of another layer is none of the head's, whatever it is called."""
    head = whole.find("scatter_log_ratio", "row - null", "generated")
    assert head is not None
    others = [
        replace(head, value=-99.0, low=-100.0, high=-98.0, layer="conv1"),
        replace(head, quantity="logit_sd", part="row", group="all", layer="conv1"),
    ]
    expected = judged(whole, control).claims
    assert judged(with_layers(whole, others), with_layers(control, others)).claims == expected
    assert judged(replace(whole, claims=[])).claims == whole.claims


# --- examples


def test_examples_are_split_as_by_the_projector(whole: NullSpaceReport) -> None:
    arrays = given()
    projector = torch.linalg.pinv(arrays["weight"]) @ arrays["weight"]
    f = torch.cat([arrays["test_features"], arrays["generated"]])
    null = f - f @ projector
    shares = (null.square().sum(1) / f.square().sum(1)).tolist()
    assert whole.examples.null_share == pytest.approx(shares, abs=1e-12)
    assert whole.examples.group == ("real",) * HELD + ("generated",) * HELD
    labels = [*arrays["test_labels"].tolist(), *arrays["generated_labels"].tolist()]
    assert whole.examples.label == tuple(labels)
    assert whole.examples.logit == ()


@pytest.mark.parametrize("bias", [None, torch.tensor([2.5])])
def test_a_head_with_one_logit_shows_it(bias: Tensor | None) -> None:
    found = made(1, bias=bias, labels=None)
    f = torch.cat([given()["test_features"], given()["generated"]])
    logits = (f @ given(1)["weight"].T)[:, 0] + (0 if bias is None else bias)
    assert found.examples.along_ones == ()
    assert found.examples.logit == pytest.approx(logits.tolist(), abs=1e-12)


def test_lambda_is_what_was_planted() -> None:
    weight = normal(4, WIDTH, seed=3)
    space = row_space(weight)
    ones = all_ones(weight, space).direction
    rest = normal(HELD, WIDTH, seed=1)
    rest -= (rest @ ones)[:, None] * ones / ones.square().sum()
    planted, generated = normal(HELD, seed=2) + 3, normal(HELD, seed=3)
    found = null_space(
        rest + planted[:, None] * ones,
        weight,
        generated=rest + generated[:, None] * ones,
        labels=None,
        **FEW,
    )
    expected = [*planted.tolist(), *generated.tolist()]
    assert found.examples.along_ones == pytest.approx(expected, abs=1e-10)
    assert found.value("lambda", "row") == pytest.approx(float(planted.mean()), abs=1e-10)


def test_of_many_examples_some_of_each_kind_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    every = made(1, labels=None)
    monkeypatch.setattr(report, "_SHOWN", 20)
    some = made(1, labels=None)
    logits = np.array(every.examples.logit)
    places = [int(np.abs(logits - logit).argmin()) for logit in some.examples.logit]
    assert some.examples.group == ("real",) * 20 + ("generated",) * 20
    assert some.examples.label == tuple(every.examples.label[place] for place in places)
    for column in ("null_share", "logit"):
        expected = [getattr(every.examples, column)[place] for place in places]
        assert getattr(some.examples, column) == pytest.approx(expected, abs=1e-12)
    assert places == sorted(set(places))
    assert places[:20] != list(range(20))  # not the first ones, which may be of one class
    assert made(1, labels=None, seed=1).examples != some.examples
    assert blank(some.entries) == blank(every.entries)


def test_an_example_at_zero_lies_nowhere() -> None:
    held = given()["test_features"].clone()
    held[3] = 0
    found = made(test_features=held, labels=None)
    assert [k for k, v in enumerate(found.examples.null_share) if math.isnan(v)] == [3]


# --- seeds, types, heads


def test_a_seed_decides_everything(whole: NullSpaceReport, unprobed: NullSpaceReport) -> None:
    torch.manual_seed(5)  # torch's own random numbers have no part in it
    np.random.seed(5)  # noqa: NPY002
    state = torch.get_rng_state()
    assert made().to_dict() == whole.to_dict()
    assert torch.equal(torch.get_rng_state(), state)
    other = made(seed=1, labels=None)
    assert keys(other) == keys(unprobed)
    moved = {"low": 0, "chance": 0}
    for one, two in zip(unprobed.entries, other.entries, strict=True):
        drawn = one.quantity.startswith("real_fake")  # its images are drawn
        assert one.value == two.value or drawn
        moved = {k: count + (getattr(one, k) != getattr(two, k)) for k, count in moved.items()}
    assert min(moved.values()) > 10


def test_arrays_of_any_kind_give_the_same(whole: NullSpaceReport) -> None:
    def array(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: array(each) for key, each in value.items()}
        if not isinstance(value, Tensor):
            return value
        return value.numpy().astype(">f8" if value.is_floating_point() else np.int32)

    found = null_space(**array(given()))
    assert found.to_dict() == whole.to_dict()
    single = null_space(
        **{k: v.float() if isinstance(v, Tensor) and v.is_floating_point() else v
           for k, v in given(labels=None).items()}
    )  # fmt: skip
    assert single.value("energy", "row") == pytest.approx(whole.value("energy", "row"), rel=1e-6)


def test_a_bias_moves_alpha_and_logits_and_nothing_else() -> None:
    plain, moved = (made(1, bias=bias, labels=None) for bias in (None, torch.tensor([0.7])))
    before = [entry for entry in plain.entries if entry.quantity != "alpha"]
    after = [entry for entry in moved.entries if entry.quantity != "alpha"]
    assert len(before) < len(plain.entries)
    for one, two in zip(before, after, strict=True):
        assert (one.key, one.note) == (two.key, two.note)
        for key in ("value", "low", "high", "chance", "chance_low", "chance_high"):
            assert getattr(two, key) == pytest.approx(getattr(one, key), nan_ok=True)
    for group in ("all", "generated", "class 1"):
        alpha = [each.value("alpha", "row", group) for each in (plain, moved)]
        assert alpha[1] == pytest.approx(alpha[0] * math.exp(-0.7))
    shift = np.subtract(moved.examples.logit, plain.examples.logit)
    assert shift == pytest.approx(0.7)


#: (out, d) and rank of heads, the parts that are not empty, and their column of examples.
HEADS: dict[str, tuple[int, int, int, set[str], str | None]] = {
    "wide": (3, 12, 3, {"row", "null"}, "along_ones"),
    "tall": (20, 6, 6, {"row"}, "along_ones"),
    "square": (6, 6, 6, {"row"}, "along_ones"),
    "deficient": (4, 12, 2, {"row", "null"}, "along_ones"),
    "one logit": (1, 8, 1, {"row", "null"}, "logit"),
    "zero": (3, 8, 0, {"null"}, None),
    "zero logit": (1, 8, 0, {"null"}, "logit"),
    "one feature": (2, 1, 1, {"row"}, "along_ones"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_of_every_kind_has_a_report_that_lasts(kind: str, tmp_path: Path) -> None:
    out, d, rank, parts, column = HEADS[kind]
    weight = normal(out, rank, seed=1) @ normal(rank, d, seed=2)
    f = normal(60, d, seed=3) + 3 * classes(60)[:, None]
    arrays: dict[str, Any] = {
        "labels": classes(60),
        "test_features": f[::2] + 0.1,
        "test_labels": classes(60)[::2],
        "generated": normal(20, d, seed=4),
        "noisy": {"gaussian 1": f[::2] + normal(30, d, seed=5)},
        **FEW,
    }
    bias = torch.full((out,), 0.5, dtype=torch.float64)
    first = null_space(f, weight, bias, **arrays)
    found = judged(first, first)
    assert (found.rank, found.dim, found.n) == (rank, d, 30)
    assert found.residual < 1e-14
    assert set(found.probes) == {"full", *parts}
    clean = [e.part for e in found.entries if e.quantity == "probe_difference"]
    contrast = {"row - random"} if len(parts) == 2 else set()
    assert set(clean) == {f"full - {part}" for part in parts} | contrast
    if len(parts) == 1:  # the part is the whole
        assert {found.value("probe_difference", each, "clean") for each in clean} == {0.0}
    shown = {key for key in ("logit", "along_ones") if getattr(found.examples, key)}
    assert shown == (set() if column is None else {column})
    if kind == "zero logit":
        assert set(found.examples.logit) == {0.5}
    elif column == "logit":
        assert len(set(found.examples.logit)) == 50
    assert all(math.isfinite(entry.value) for entry in found.entries)
    for entry in found.entries:
        assert (entry.control == entry.value) or math.isnan(entry.value)
    path, table = found.save(tmp_path / "report.json")
    assert NullSpaceReport.load(path).to_dict() == found.to_dict()
    assert len(table.read_text().splitlines()) == len(found.entries) + 1


def test_a_report_cut_short_is_refused(whole: NullSpaceReport, tmp_path: Path) -> None:
    path, _ = whole.save(tmp_path / "report.json")
    text = path.read_text()
    for length in np.linspace(0, len(text) - 2, 9).astype(int):
        path.write_text(text[:length])
        with pytest.raises(StoreError, match="cut short"):
            NullSpaceReport.load(path)
