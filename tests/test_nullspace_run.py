"""The null-space report of a run: its checkpoint and images, beside the untrained network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_results import blank
from torch import Tensor, nn

from repsim.activations import ImageLoader
from repsim.activations.analyses import nullspace as null_space
from repsim.activations.analyses.layer_nullspace import layer_null_spaces
from repsim.activations.analyses.nullspace import NOISES, null_space_of_run
from repsim.activations.capture import checked
from repsim.activations.harvesting import heads
from repsim.activations.harvesting.heads import generated_images, head_features, linear_head
from repsim.data import ImageSet, load
from repsim.data.noise import Noise
from repsim.data.targets import label_target
from repsim.errors import MismatchError, StoreError, UsageError
from repsim.nullspace import null_space as null_space_of_features
from repsim.results import Alpha, NullSpaceEntry, NullSpaceReport
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Extractor, Run

SETTINGS: dict[str, dict[str, Any]] = {
    "mgan": {"width": 4, "generators": 3, "epochs": 2, "statistics_batches": 10},
    "gan": {"width": 4, "epochs": 3, "save_every": (0, 1, 2), "statistics_batches": 10},
    "supervised": {"depth": 10, "width": 4, "representation": 12, "epochs": 8},
    "simclr": {"depth": 10, "width": 4, "epochs": 1},
}
#: Enough classes in each part, and few images.
KNOWN, HELD = 100, 41
NOISE = ("gaussian:0.5", "salt-and-pepper:0.2")
PLAIN: dict[str, Any] = {"noises": NOISE, "layers": False}


def trained(method: str, path: Path, **settings: Any) -> Run:
    common = {"split": "train[:120]", "test": "test[:20]", "seed": 5, "batch_size": 60}
    if method in ("gan", "mgan"):
        common |= {"sheet": 4, "coverage": 0}
    return train(method, configure(method, {**common, **settings}, "test"), path)


@pytest.fixture(scope="module", autouse=True)
def _quickly() -> Iterator[None]:
    """Few draws and resamples: no test here looks at the width of an interval.

    Nor at networks that are no functions of the image: each pass would show its network forty
    batches more to see that, which tests of features do for the same methods.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checked, "check_function", lambda *unused: None)
        patch.setattr(null_space, "null_space", few)
        yield


def few(*arrays: Any, **options: Any) -> NullSpaceReport:
    return null_space_of_features(*arrays, draws=20, resamples=20, **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: trained(name, folder / name, **SETTINGS[name]) for name in SETTINGS}


def controlled(method: str, path: Path) -> Run:
    """The run that training ``method`` would begin with."""
    return trained(method, path, **{**SETTINGS[method], "epochs": 0, "save_every": ()})


def images(split: str) -> ImageSet:
    """Digits in three classes, which probes tell apart sooner than ten."""
    every = load("digits", split)
    assert every.labels is not None
    merged = label_target(every.labels // 4, ("0 to 3", "4 to 7", "8 and 9"))
    return replace(every, targets=merged)


known, held = images(f"train[200:{200 + KNOWN}]"), images(f"test[:{HELD}]")


def of(extractor: Extractor, **options: Any) -> NullSpaceReport:
    return null_space_of_run(extractor, known, held, **{**PLAIN, **options})


@pytest.fixture(scope="module")
def reports(runs: dict[str, Run]) -> dict[str, NullSpaceReport]:
    """Reports with their controls, of other layers as well."""
    names = ("mgan:classifier", "mgan:discriminator", "gan", "supervised")
    return {name: of(extractor(runs, name), layers=True) for name in names}


def extractor(runs: dict[str, Run], name: str, epoch: int | None = None) -> Extractor:
    method, _, which = name.partition(":")
    return runs[method].extractor(which or None, epoch)


def own(entry: NullSpaceEntry) -> NullSpaceEntry:
    """An entry without the numbers of the control."""
    return replace(entry, control=math.nan, control_low=math.nan, control_high=math.nan)


def groups(report: NullSpaceReport) -> set[str]:
    return {entry.group for entry in report.entries}


# --- from the public pieces


def by_hand(
    load: Callable[[Any], nn.Module], made: Tensor | None, generator: Tensor | None
) -> NullSpaceReport:
    """The report of a network, from its features of each kind of images."""
    network, other = load("real"), load("generated")
    loader, head = ImageLoader(held, 256), linear_head(network)
    noises = [Noise.parse(noise) for noise in NOISE]
    return few(
        head_features(network, ImageLoader(known, 256)),
        head.weight,
        head.bias,
        labels=known.labels,
        test_features=head_features(network, loader),
        test_labels=held.labels,
        generated=None if made is None else head_features(other, made),
        generated_labels=generator,
        generated_alike=None if made is None else head_features(network, made),
        noisy={each.name: head_features(network, loader, noise=each, seed=0) for each in noises},
    )


@pytest.mark.parametrize(
    ("name", "each"), [("mgan:classifier", 14), ("gan", 41), ("supervised", 0)]
)
def test_a_report_is_that_of_the_features_of_the_checkpoint_and_of_its_beginning(
    name: str, each: int, runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    run, chosen = runs[name.partition(":")[0]], extractor(runs, name)
    made = generated_images(run, each, 0) if each else None
    arrays = (
        None if made is None else made.images,
        made.generator if name.startswith("mgan") else None,
    )
    trained, before = (by_hand(load, *arrays) for load in (chosen.load, chosen.untrained))
    found = reports[name]
    of_head = [e for e in found.entries if e.layer is None and not e.quantity.startswith("called")]
    assert blank([own(entry) for entry in of_head]) == blank(trained.entries)
    others = {entry.key: entry for entry in before.entries}
    for entry in of_head:
        other = others.get(entry.key)
        expected = [math.nan] * 3 if other is None else [other.value, other.low, other.high]
        beside = [entry.control, entry.control_low, entry.control_high]
        assert blank(beside) == blank(expected), entry.key
    assert found.examples == trained.examples.named(held.classes)
    assert found.examples.classes == ("0 to 3", "4 to 7", "8 and 9")
    assert (found.n, found.rank, found.residual) == (HELD, trained.rank, trained.residual)
    assert found.singular_values == trained.singular_values


@pytest.mark.parametrize("name", ["mgan:classifier", "mgan:discriminator", "gan", "supervised"])
def test_training_makes_a_difference(name: str, reports: dict[str, NullSpaceReport]) -> None:
    found = reports[name]
    beside = [entry for entry in found.entries if not math.isnan(entry.control)]
    assert len(beside) > 0.9 * len(found.entries)
    moved = [e for e in beside if e.quantity != "probe" and e.control != e.value]
    assert len(moved) > 0.8 * len([e for e in beside if e.quantity != "probe"])
    assert all("untrained" in claim.statement for claim in found.claims)
    assert found.claims
    assert found.residual < 1e-6


# --- the control


@pytest.mark.parametrize("name", ["supervised", "gan"])
def test_the_control_is_the_report_of_an_untrained_run(
    name: str, runs: dict[str, Run], reports: dict[str, NullSpaceReport], tmp_path: Path
) -> None:
    run = controlled(name, tmp_path / "untrained")
    found, beside = of(run.extractor(), layers=True), reports[name]
    # The images that it generates are its own, where the control is shown those of the trained.
    made = [e for e in beside.entries if e.group.startswith(("generated", "real-fake"))]
    assert bool(made) == (name == "gan")
    of_both = ("gap", "real_fake_probe", "real_fake_difference")
    rest = {e.key: e for e in beside.entries if e.quantity not in of_both and e not in made}
    found = replace(found, entries=[e for e in found.entries if e.key in rest])
    assert {entry.key for entry in found.entries} == rest.keys()
    for entry in found.entries:
        control = rest[entry.key]
        assert control.control == entry.value, entry.key
        if name == "supervised" or entry.group == "all":
            assert blank([control.control_low, control.control_high]) == blank(
                [entry.low, entry.high]
            )
        assert math.isnan(entry.control)  # an untrained network has no other before it
    assert not any("untrained" in claim.statement for claim in found.claims)


def test_without_a_control_the_numbers_are_the_same(
    runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    found = of(extractor(runs, "supervised"), layers=True, control=False)
    assert blank(found.entries) == blank([own(e) for e in reports["supervised"].entries])
    assert not any("untrained" in claim.statement for claim in found.claims)
    assert [claim.verdict for claim in found.claims] == [
        claim.verdict for claim in reports["supervised"].claims
    ]


# --- generated images


def test_generated_images_are_as_many_as_real_ones_and_of_each_generator(
    reports: dict[str, NullSpaceReport],
) -> None:
    """41 held-out images, three generators."""
    for name in ("mgan:classifier", "mgan:discriminator"):
        found = reports[name]
        assert found.provenance["generated"] == 42
        labels = found.examples.label[HELD:]
        assert labels == (0,) * 14 + (1,) * 14 + (2,) * 14
        assert {f"generated class {k}" for k in range(3)} <= groups(found)
    alone = reports["gan"]
    assert alone.provenance["generated"] == HELD
    assert set(alone.examples.label[HELD:]) == {None}
    assert not any(group.startswith("generated class") for group in groups(alone))
    assert {"generated", "real-fake"} < groups(alone)
    assert alone.find("gap", "row")


def test_a_classifier_of_images_has_none(reports: dict[str, NullSpaceReport]) -> None:
    found = reports["supervised"]
    assert groups(found) == {
        *("all", "clean", "gaussian 0.5", "salt-and-pepper 0.2"),
        *("class 0", "class 1", "class 2"),
    }
    assert found.find("gap", "row") is None
    assert found.find("noise_share", "row", "real-fake") is None
    assert set(found.examples.group) == {"real"}
    assert found.provenance["generated"] == 0


def test_a_report_says_where_it_is_from(
    runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    found = reports["mgan:classifier"]
    assert found.name == "mgan:classifier"
    said = found.provenance
    assert said["network"]["checkpoint_sha256"] == runs["mgan"].digest()
    assert said["network"]["extractor"] == "classifier"
    assert (said["train"]["split"], said["test"]["split"]) == (known.split, held.split)
    assert said["noises"] == list(NOISE)
    assert (said["seed"], said["layer_images"]) == (0, HELD)


def test_it_survives_a_file(reports: dict[str, NullSpaceReport], tmp_path: Path) -> None:
    for name, found in reports.items():
        path, table = found.save(tmp_path / name / "report.json")
        assert NullSpaceReport.load(path).to_dict() == found.to_dict()
        assert len(table.read_text().splitlines()) == 1 + len(found.entries)


# --- epochs


def test_an_epoch_of_a_series_has_its_own_weights_and_images(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []  # after so few steps, images of another epoch are hardly others

    def making(*arrays: Any, epoch: int | None = None, **options: Any) -> Any:
        asked.append(epoch)
        return generated_images(*arrays, epoch=epoch, **options)

    monkeypatch.setattr(heads, "generated_images", making)
    run, chosen = runs["gan"], extractor(runs, "gan", 1)
    found = of(chosen, control=False, noises=())
    assert set(asked) == {1}
    assert (found.name, found.provenance["network"]["epoch"]) == ("gan@1", 1)
    made = generated_images(run, HELD, 0, epoch=1).images
    with torch.no_grad():
        shown = {"real": held.inputs(), "generated": made}
        parts = [run.load_extractor(epoch=1, statistics=s)(x) for s, x in shown.items()]
        logits = torch.cat(parts)[:, 0]
    assert found.examples.logit == pytest.approx(logits.tolist(), abs=1e-6)
    with torch.no_grad():  # which the end of training would not have passed
        after = run.load_extractor()(held.inputs())[:, 0]
    assert float((after - logits[:HELD]).abs().max()) > 1e-4
    assert [row.epoch for row in found.alpha] == [1]


def test_before_training_the_network_is_its_own_control(runs: dict[str, Run]) -> None:
    found = of(extractor(runs, "gan", 0), layers=True, noises=("gaussian:0.5",))
    assert found.alpha == []
    for entry in found.entries:
        beside = [entry.control, entry.control_low, entry.control_high]
        assert blank(beside) == blank([entry.value, entry.low, entry.high])


def test_a_run_that_goes_on_has_reports_of_its_epochs(runs: dict[str, Run], tmp_path: Path) -> None:
    for file in ("config.json", "metrics.csv", "checkpoints/epoch-0002.pt"):
        copy = tmp_path / "gan" / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((runs["gan"].path / file).read_bytes())
    run = Run(tmp_path / "gan")
    found = of(run.extractor(epoch=2), control=False, noises=())
    assert (found.name, len(found.alpha)) == ("gan@2", 2)
    for ask in (of, Extractor.digest):  # commands ask for the digest first
        with pytest.raises(StoreError, match="'gan' is not finished; .* or take gan@2$"):
            ask(run.extractor())


# --- alpha


def test_alpha_is_that_of_the_metrics(
    runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    names = ("epoch", "alpha_real", "alpha_real_cv", "alpha_fake", "alpha_fake_cv")
    names = (*names, "alpha_batches")
    for name, epochs in (("gan", 3), ("mgan:discriminator", 2)):
        rows = runs[name.partition(":")[0]].metrics()
        assert len(rows) == epochs
        assert reports[name].alpha == [
            Alpha(**{column: row[column] for column in names}) for row in rows
        ]
    # A head with several logits has no α, whatever was recorded of the run's discriminator.
    assert reports["mgan:classifier"].alpha == []
    assert reports["supervised"].alpha == []


def test_a_run_that_recorded_no_alpha_has_none(tmp_path: Path) -> None:
    run = trained("gan", tmp_path / "gan", width=4, epochs=1, sheet=0)
    found = of(run.extractor(), control=False, noises=())
    assert "alpha_real" not in run.metrics()[0]
    assert found.alpha == []
    assert found.value("alpha", "row") > 0


# --- other layers


def layers_of(load: Callable[[Any], nn.Module], made: Tensor | None) -> list[NullSpaceEntry]:
    """Entries of layers, each kind of images with its own statistics."""
    a, b = (
        layer_null_spaces(load(side), ImageLoader(held, 50), labels=held.labels, generated=made)
        for side in ("real", "generated")
    )
    return [y if x.group == "generated" else x for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("name", ["mgan:classifier", "supervised"])
def test_other_layers_are_reported_as_alone(
    name: str, runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    chosen = extractor(runs, name)
    run = runs[name.partition(":")[0]]
    made = generated_images(run, 14, 0).images if name.startswith("mgan") else None
    alone, before = (layers_of(load, made) for load in (chosen.load, chosen.untrained))
    found = [entry for entry in reports[name].entries if entry.layer is not None]
    assert [entry.key for entry in found] == [entry.key for entry in alone]
    assert len({entry.layer for entry in found}) > 3
    for entry, one, two in zip(found, alone, before, strict=True):
        assert blank(own(entry)) == blank(one)
        assert blank(entry.control) == blank(two.value)


def test_other_layers_can_be_left_out(
    runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    without, found = of(extractor(runs, "supervised")), reports["supervised"]
    assert blank(without.entries) == blank([e for e in found.entries if e.layer is None])
    assert without.claims == found.claims
    assert without.provenance["layer_images"] == 0


def test_other_layers_are_shown_some_images_of_every_generator(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Any, Tensor | None]] = []

    def layers(network: Any, loader: Any, *, labels: Tensor | None = None, **_: Any) -> list:
        shown.append((loader, labels))
        return []

    monkeypatch.setattr(null_space, "layer_null_spaces", layers)
    test = images("test[:75]")
    found = null_space_of_run(
        extractor(runs, "mgan:classifier"),
        known,
        test,
        noises=(),
        control=False,
        layer_images=50,
    )
    (loader, labels), (generated, none) = shown
    assert none is None
    real = [each for batch in loader for each in batch[2]]
    assert torch.equal(labels, test.labels[:50])
    assert real == [str(each) for each in test.ids[:50]]
    every = generated_images(runs["mgan"], 25, 0)
    rows = [int((every.images - image).abs().sum((1, 2, 3)).argmin()) for image in generated]
    assert torch.equal(generated, every.images[rows])
    assert 25 < len(generated) <= 50
    counts = every.generator[rows].bincount(minlength=3).tolist()
    assert max(counts) - min(counts) <= 1
    assert found.provenance["layer_images"] == 50


# --- progress, seeds


@pytest.mark.parametrize(
    ("name", "options", "total"),
    [
        ("gan", {"layers": True}, 1 + 2 * (2 + 1 + 2 + 1 + 1)),
        ("supervised", {"layers": True}, 1 + 2 * (2 + 0 + 2 + 1 + 1)),
        ("supervised", {"control": False, "noises": ()}, 1 + 3),
        ("mgan:classifier", {"control": False}, 1 + 6),
    ],
)
def test_progress_counts_to_its_total(
    name: str,
    options: dict[str, Any],
    total: int,
    runs: dict[str, Run],
    reports: dict[str, NullSpaceReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(null_space, "null_space", lambda *_, **__: reports[name])  # steps alone
    seen: list[tuple[int, int]] = []
    notes: list[str] = []

    def progress(done: int, steps: int, note: str = "") -> None:
        seen.append((done, steps))
        notes.append(note)

    of(extractor(runs, name), progress=progress, **options)
    assert seen == [(k + 1, total) for k in range(total)]
    assert notes[0] == "generated images"
    assert "held-out images" in notes


def test_a_seed_decides_noise_images_and_intervals(
    runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    chosen, before = extractor(runs, "gan"), reports["gan"]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    again = of(chosen, control=False)
    assert torch.equal(torch.get_rng_state(), state)
    of_head = [own(entry) for entry in before.entries if entry.layer is None]
    assert blank(again.entries) == blank(of_head)
    assert again.examples == before.examples
    other = of(chosen, control=False, seed=1)
    assert other.provenance["seed"] == 1
    for what in (
        ("energy", "row", "generated"),
        ("noise_share", "row", "gaussian 0.5"),
        ("noise_share", "row", "salt-and-pepper 0.2"),
    ):
        assert other.value(*what) != again.value(*what)
    assert other.value("energy", "row") == again.value("energy", "row")
    assert other.find("energy", "row").low != again.find("energy", "row").low


# --- images without labels


@pytest.mark.parametrize("without", ["train", "test", "both"])
def test_images_without_labels_have_no_probes_and_no_classes(
    without: str, runs: dict[str, Run], reports: dict[str, NullSpaceReport]
) -> None:
    parts = [known, held]
    for k, part in enumerate(("train", "test")):
        if without in (part, "both"):
            parts[k] = replace(parts[k], targets=())
    found = null_space_of_run(extractor(runs, "mgan:classifier"), *parts, control=False, **PLAIN)
    assert found.probes == {}
    assert groups(found) == {
        *("all", "generated", "alike", "real-fake", "gaussian 0.5", "salt-and-pepper 0.2"),
        *(f"generated class {k}" for k in range(3)),  # the generators are known
    }
    assert found.find("scatter_ratio", "row") is None
    assert found.find("scatter_ratio", "row", "generated")
    same = reports["mgan:classifier"]
    assert found.value("energy", "row") == pytest.approx(same.value("energy", "row"))
    assert {claim.group for claim in found.claims} == {"generated"}
    assert set(found.examples.label[:HELD]) == {None}


# --- what is refused


def test_a_network_without_a_linear_head_is_refused_at_once(runs: dict[str, Run]) -> None:
    def progress(*_: object) -> None:
        raise AssertionError("something was done")

    with pytest.raises(UsageError, match="ResNet has a head of type ProjectionHead") as caught:
        of(extractor(runs, "simclr"), progress=progress)
    assert "\n" not in str(caught.value)


def test_probes_are_not_scored_on_images_they_were_trained_on(runs: dict[str, Run]) -> None:
    message = (
        r"digits test\[0:41\] and digits test\[40:50\] share 1 images, such as digits/test/40; a "
        "probe must be scored on images it has not seen"
    )
    with pytest.raises(MismatchError, match=message):
        null_space_of_run(extractor(runs, "gan"), held, images("test[40:50]"), **PLAIN)


@pytest.mark.parametrize("noise", ["gaussian", "gaussian:much", "salt:0.1", "gaussian:-1"])
def test_a_noise_that_is_not_understood_is_refused(noise: str, runs: dict[str, Run]) -> None:
    with pytest.raises(UsageError, match="noise") as caught:
        of(extractor(runs, "gan"), noises=("gaussian:0.1", noise))
    assert "\n" not in str(caught.value)


def test_the_noises_of_a_report_can_be_told_apart() -> None:
    names = [Noise.parse(noise).name for noise in NOISES]
    assert len(set(names)) == len(NOISES) == 8
    assert {name.rpartition(" ")[0] for name in names} == {"gaussian", "salt-and-pepper"}
