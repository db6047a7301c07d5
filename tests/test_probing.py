"""Probes at the layers of stores: plans, components, pooling, records, series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.activations.analyses.probe import Probe, ProbePlan, probe_layers
from repsim.errors import DegenerateError, MismatchError, RepsimWarning, UsageError
from repsim.nullspace import row_space
from repsim.probes import probe
from repsim.results import ProbeCurve

N, M, CLASSES = 240, 120, 3


class Net(nn.Module):
    """Maps, what a head is fed, and the head."""

    head_input = "features"

    def __init__(self, outputs: int = CLASSES) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.features = nn.Flatten()
        self.head = nn.Linear(3 * 4 * 4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.conv(x)))


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N + M) % CLASSES
    means = torch.randn(CLASSES, 1, 4, 4, generator=generator)
    return torch.randn(N + M, 1, 4, 4, generator=generator) + 0.7 * means[labels], labels


def stored(folder: Path, *, network: int = 0, labelled: bool = True, **options: Any) -> Any:
    """Stores of the training part and of the held-out part."""
    torch.manual_seed(network)
    model, (x, y) = Net().eval(), images()
    made = []
    for name, part in (("train", slice(0, N)), ("test", slice(N, None))):
        ids = [str(k) for k in range(N + M)[part]]
        batches = [(x[part], y[part] if labelled else None, ids)]
        path = folder / f"{name}-{network}.h5"
        layers = ["conv", "features", "head"]
        made.append(
            repsim.harvest(model, batches, path, layers=layers, examples=len(ids), **options)
        )
    return made


@pytest.fixture
def stores(tmp_path: Path) -> Any:
    return stored(tmp_path)


def test_every_layer_has_its_probe(stores: Any) -> None:
    train, test = stores
    curve = probe_layers(train, test)
    assert [entry.layer for entry in curve.entries] == ["conv", "features", "head"]
    assert [entry.depth for entry in curve.entries] == [0, 1, 2]
    assert [entry.features for entry in curve.entries] == [3, 48, 3]  # maps are averaged
    assert (curve.n_train, curve.n_test, curve.classes, curve.solver) == (N, M, CLASSES, "lbfgs")
    for entry in curve.entries:
        layer = entry.layer
        x, held = (store[layer][:].reshape(store.n, entry.features, -1).mean(2) for store in stores)
        found = probe(x, train.labels, test_features=held, test_labels=test.labels)
        assert entry.accuracy == pytest.approx(found.accuracy, abs=2 / M)
        assert entry.low <= entry.accuracy <= entry.high
        assert len(entry.per_class) == CLASSES
        assert np.mean(entry.per_class) == pytest.approx(entry.accuracy)


@pytest.mark.parametrize(
    ("pooling", "p"),
    [("avg", 3), ("none", 48), ("grid:2", 12), ("max:47", 12), ("avg+project:2", 2)],
)
def test_maps_are_pooled_as_asked(stores: Any, pooling: str, p: int) -> None:
    plan = ProbePlan(solvers=["ridge"], pooling=pooling)
    (entry,) = probe_layers(*stores, layers="conv", plan=plan).entries
    assert entry.features == p


def test_a_store_of_averages_is_not_probed_cell_by_cell(tmp_path: Path) -> None:
    train, test = stored(tmp_path, pooling="avg")
    assert len(probe_layers(train, test, plan=ProbePlan(solvers=["knn"])).entries) == 3
    with pytest.raises(UsageError, match=r"with pooling avg, and cannot be probed with grid:2"):
        probe_layers(train, test, plan=ProbePlan(pooling="grid:2"))


def test_a_store_is_probed_under_the_pooling_that_it_was_harvested_with(tmp_path: Path) -> None:
    train, test = stored(tmp_path, pooling="max:47")
    plan = ProbePlan(solvers=["ridge"], pooling="max:47")
    (entry,) = probe_layers(train, test, layers="conv", plan=plan).entries
    assert entry.features == 12
    with pytest.raises(UsageError, match=r"with pooling max:47, and cannot be probed with max:12"):
        probe_layers(train, test, plan=ProbePlan(pooling="max:12"))


# --- components


def test_row_and_null_component_add_up(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = stores
    seen: dict[str, list[Tensor]] = {}

    def watched(x: Any, labels: Any, **options: Any) -> Any:
        seen.setdefault("train", []).append(x.tensor())
        seen.setdefault("test", []).append(options["test_features"].tensor())
        return probe(x, labels, **options)

    monkeypatch.setattr("repsim.activations.analyses.probe.probe", watched)
    plan = ProbePlan(solvers=["ridge"], components=["full", "row", "null"])
    curve = probe_layers(train, test, plan=plan)
    assert [entry.layer for entry in curve.entries] == ["features"] * 3
    assert [entry.component for entry in curve.entries] == ["full", "row", "null"]
    weight = torch.tensor(train.heads["head"]["weight"]).double()
    for side in ("train", "test"):
        full, row, null = seen[side]
        torch.testing.assert_close(row + null, full.double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(
            null @ weight.T, torch.zeros(len(null), 3).double(), rtol=0, atol=1e-5
        )
        torch.testing.assert_close(row @ weight.T, full.double() @ weight.T, rtol=0, atol=1e-5)
    expected = row_space(weight).split(torch.tensor(train["features"][:]).double())
    torch.testing.assert_close(seen["train"][1], expected[0], rtol=0, atol=1e-5)


def test_only_what_feeds_a_head_has_components(stores: Any) -> None:
    with pytest.raises(
        UsageError, match="layer 'conv' of .* feeds no linear head, so it has no null"
    ):
        probe_layers(*stores, layers="conv", plan=ProbePlan(components=["null"]))


def test_a_network_without_a_head_has_no_components(tmp_path: Path) -> None:
    model, (x, y) = nn.Sequential(nn.Flatten(), nn.ReLU()), images()
    made = [
        repsim.harvest(
            model, [(x[part], y[part], ids)], tmp_path / f"{len(ids)}.h5", examples=len(ids)
        )
        for part, ids in (
            (slice(0, N), [str(k) for k in range(N)]),
            (slice(N, None), [str(k) for k in range(N, N + M)]),
        )
    ]
    with pytest.raises(UsageError, match="has no linear head in its store; the null and row"):
        probe_layers(*made, plan=ProbePlan(components=["row", "null"]))


# --- combinations


def test_all_combinations_of_a_plan_are_trained(stores: Any) -> None:
    plan = ProbePlan(
        solvers=["ridge", "knn", "sgd:mao2022"],
        components=["full", "null"],
        label_fractions=[1.0, 0.5],
        seeds=[0, 1],
        random_labels=True,
        options={"k": 3},
    )
    told: list[tuple[int, int]] = []
    curve = probe_layers(
        *stores,
        layers="features",
        plan=plan,
        progress=lambda done, of, note: told.append((done, of)),
    )
    assert len(curve.entries) == len(plan.probes()) == 3 * 2 * 2 * 2 * 2
    assert told == [(k + 1, 48) for k in range(48)]
    keys = ("solver", "component", "label_fraction", "labels", "seed")
    assert len({tuple(getattr(entry, key) for key in keys) for entry in curve.entries}) == 48
    assert {entry.n_train for entry in curve.entries} == {N, N // 2}
    series = curve.series()
    assert len(series) == 24
    assert {len(each.points) for each in series} == {1}
    first = series[0]
    assert (
        first.label == f"{curve.networks()[0]}, ridge, all features, 100 % of labels, true labels"
    )
    (point,) = first.points
    mine = [
        entry.accuracy
        for entry in curve.entries
        if all(getattr(entry, key) == getattr(first, key) for key in keys[:-1])
    ]
    assert point.seeds == len(mine) == 2
    assert point.accuracy == pytest.approx(np.mean(mine))
    assert point.sd == pytest.approx(np.std(mine, ddof=1))
    assert point.low < point.accuracy < point.high


def test_a_curve_of_all_kinds_survives_a_file(stores: Any, tmp_path: Path) -> None:
    solvers = ["ridge", "knn", "sgd:mao2022"]
    plan = ProbePlan(solvers=solvers, label_fractions=[1, 0.1], random_labels=True)
    curve = probe_layers(*stores, plan=plan)
    for entry in curve.entries:
        assert len(entry.history) == (20 if entry.solver == "sgd:mao2022" else 0)
        assert entry.history[-1:] in ((), (entry.accuracy,))
    path, sheet = curve.save(tmp_path / "curve.json")
    loaded = ProbeCurve.load(path)
    assert loaded.entries == curve.entries
    assert [each.label for each in loaded.series()] == [each.label for each in curve.series()]
    header = sheet.read_text().splitlines()[0].split(",")
    assert "history" not in header
    assert header[-CLASSES:] == ["class_0", "class_1", "class_2"]
    assert len(sheet.read_text().splitlines()) == 1 + len(curve.entries)


def test_a_file_of_before_has_one_probe_a_layer(tmp_path: Path) -> None:
    """The keys that the first version wrote."""
    entries = [
        {
            "network": "simclr",
            "layer": f"l{depth}",
            "depth": depth,
            "features": 8,
            "accuracy": 0.5 + depth / 10,
            "train_accuracy": 0.9,
            "converged": True,
        }
        for depth in range(3)
    ]
    content = ProbeCurve([], 10, 80, 20, "knn").to_dict()
    (tmp_path / "old.json").write_text(json.dumps({**content, "entries": entries}))
    curve = ProbeCurve.load(tmp_path / "old.json")
    (series,) = curve.series()
    assert (series.label, series.solver, series.component) == ("simclr", "knn", "full")
    assert (series.label_fraction, series.labels) == (1.0, "true")
    assert [point.accuracy for point in series.points] == pytest.approx([0.5, 0.6, 0.7])
    assert [entry.n_train for entry in curve.entries] == [80] * 3
    assert all(np.isnan(point.sd) and point.seeds == 1 for point in series.points)
    assert curve.best("simclr").layer == "l2"
    assert len(repsim.figures.probe_curves(curve).axes[0].lines) == 2


# --- memory


@pytest.mark.parametrize("solver", ["lbfgs", "ridge", "knn"])
def test_layers_larger_than_memory_are_probed_alike(
    stores: Any, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ProbePlan(solvers=[solver], components=["full", "null"], label_fractions=[1, 0.5])
    whole = probe_layers(*stores, plan=plan)
    for module in ("features", "knn", "sgd"):
        monkeypatch.setattr(f"repsim.probes.{module}.default_memory", lambda device: 1000)
    monkeypatch.setattr("repsim.probes.features.BLOCK", 50)
    parts = probe_layers(*stores, plan=plan)
    accuracies = [[entry.accuracy for entry in curve.entries] for curve in (whole, parts)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1 / M)


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solvers": ["lbgfs"]}, "unknown solver 'lbgfs'; did you mean 'lbfgs'"),
        ({"solvers": []}, "no solvers were given"),
        ({"solvers": ["sgd:mao"]}, "unknown schedule 'mao'; did you mean 'mao2022'"),
        ({"solvers": ["sgd:"]}, "unknown schedule ''"),
        ({"solvers": ["lbfgs:mao2022"]}, "schedule 'mao2022' is for sgd or mlp; lbfgs has none"),
        ({"components": ["nul"]}, "unknown component 'nul'; did you mean 'null'"),
        ({"components": []}, "no components were given"),
        ({"label_fractions": [1, 0]}, "label_fraction is 0; expected above 0 and at most 1"),
        ({"label_fractions": []}, "no label_fractions were given"),
        ({"seeds": []}, "no seeds were given"),
        ({"pooling": "mean"}, "unknown pooling 'mean'"),
    ],
)
def test_a_plan_names_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ProbePlan(**options)


def test_stores_that_do_not_fit_are_refused(stores: Any, tmp_path: Path) -> None:
    train, test = stores
    with pytest.raises(MismatchError, match="share 240 examples, such as 0; a probe must be"):
        probe_layers(train, train)
    (tmp_path / "other").mkdir()
    other = stored(tmp_path / "other", network=1)[1]
    with pytest.raises(MismatchError, match="come from different networks"):
        probe_layers(train, other)
    (tmp_path / "bare").mkdir()
    bare = stored(tmp_path / "bare", labelled=False)[0]
    with pytest.raises(UsageError, match="has no labels; probes need them"):
        probe_layers(bare, test)


def renamed(tmp_path: Path, count: int, held: int) -> Any:
    """A held-out part under other ids, with the inputs of ``count`` training examples."""
    torch.manual_seed(0)
    model, (x, y) = Net().eval(), images()
    shown = torch.cat([x[:count], x[N : N + held - count]])
    labels = torch.cat([y[:count], y[N : N + held - count]])
    batches = [(shown, labels, [f"copy{k}" for k in range(held)])]
    path = tmp_path / "renamed.h5"
    return repsim.harvest(model, batches, path, layers=["features"], examples=held)


def test_the_same_inputs_under_other_ids_are_no_held_out_examples(
    stores: Any, tmp_path: Path
) -> None:
    test = renamed(tmp_path, 30, 100)
    with pytest.raises(MismatchError, match="30 of 100 examples of .*renamed.h5 have the same inp"):
        probe_layers(stores[0], test, layers="features")
    with pytest.raises(MismatchError, match="under other ids, such as copy0 and 0; a probe must"):
        probe_layers(stores[0], test, layers="features")


def test_one_image_twice_in_a_data_set_is_a_warning(stores: Any, tmp_path: Path) -> None:
    test = renamed(tmp_path, 1, 101)
    with pytest.warns(RepsimWarning, match="1 of 101 examples of .* same inputs .* held out"):
        probe_layers(stores[0], test, layers="features")


def test_a_layer_that_is_the_same_for_every_example_has_no_probe(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Threshold(1e6, 0.0)).eval()
    x, made = torch.randn(90, 4), []
    for name, part in (("train", slice(0, 60)), ("test", slice(60, 90))):
        ids = [str(k) for k in range(90)[part]]
        batches = [(x[part], (x[part, 0] > 0).long(), ids)]
        made.append(repsim.harvest(model, batches, tmp_path / f"{name}.h5", examples=len(ids)))
    with pytest.warns(RepsimWarning, match="2 of .* is the same for every example, and left out"):
        curve = probe_layers(*made)
    assert [entry.layer for entry in curve.entries] == ["0", "1"]
    with pytest.raises(DegenerateError, match="the same for every example; nothing to learn from"):
        probe_layers(*made, layers="2")


def test_classes_that_no_training_example_has_are_said(stores: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, y = images()
    y = torch.where((torch.arange(N + M) >= N) & (y == 2), 7, y)
    batches = [(x[N:], y[N:], [f"t{k}" for k in range(M)])]
    test = repsim.harvest(Net().eval(), batches, tmp_path / "seven.h5", examples=M)
    with pytest.warns(RepsimWarning, match="40 of 120 held-out examples are of classes that no"):
        curve = probe_layers(stores[0], test, layers="features")
    assert curve.unseen == 40
    assert ProbeCurve.join([curve]).unseen == 40
    assert any("40 of 120 held-out" in str(line) for line in Probe().report(curve))
