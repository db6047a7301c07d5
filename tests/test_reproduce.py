"""Papers reproduced: their declarations, and whole reproductions at scale tiny."""

from __future__ import annotations

import csv
import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import run_command

from repsim.errors import UsageError
from repsim.figures import papers
from repsim.figures.papers import find_paper, paper_names, paper_summary
from repsim.figures.papers.engine import Folder, Reproduction
from repsim.figures.papers.engine.computation import Computation
from repsim.figures.papers.engine.page import write_page
from repsim.figures.papers.engine.production import make_missing
from repsim.figures.papers.engine.report import collect, publish
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.figures.papers.grigg2021.estimators import (
    changes_by_rotation,
    distance_of_one_batch,
    gaussian_check,
)
from repsim.figures.papers.mao2022.published import PUBLISHED
from repsim.figures.papers.mao2022.runs import NAMES
from repsim.figures.papers.mao2022.shift import ShiftConfig, probability_changes
from repsim.results import NullSpaceReport, ProbeCurve, Result, Table

ROOT = Path(__file__).parent.parent

#: The papers and, of each, the scales and image sets that it lays out.
LAYOUTS = [(name, *layout) for name in paper_names() for layout in find_paper(name).splits]


#: Papers that the first release had.
FIRST = ("grigg2021", "mao2022")


class Stop(BaseException):
    """An interruption, as by a key."""


def reproduction_of(paper: str, folder: Path, **options: object) -> Reproduction:
    place = Folder(folder, device="cpu")
    return Reproduction(find_paper(paper), place, "tiny", **options)  # type: ignore[arg-type]


# Closed forms


@pytest.mark.parametrize(("n", "p", "limit"), [(256, 2048, 0.889), (50, 5000, 0.990)])
def test_the_biased_estimator_goes_to_its_limit_on_independent_features(
    n: int, p: int, limit: float
) -> None:
    found = gaussian_check(n, p)
    assert found["limit"] == pytest.approx(limit, abs=5e-4)
    assert found["biased"] == pytest.approx(found["limit"], abs=0.01)
    assert abs(found["unbiased"]) < 0.02


def test_identities_of_the_estimators() -> None:
    assert max(changes_by_rotation()) < 1e-12
    assert max(distance_of_one_batch()) < 1e-12


def test_softmax_sees_every_direction_of_the_row_space_but_one() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    features, weight = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((20, 8), (4, 8))
    )
    along, across = probability_changes(features, weight, ShiftConfig().shifts).values()
    assert max(along) < 1e-12
    assert across[-1] > 1e-3
    assert across == sorted(across)


def test_published_differences_are_those_of_the_published_accuracies() -> None:
    table = PUBLISHED["mnist"]
    pairs = zip(table["classifier"], table["discriminator"], strict=True)
    assert [round(c - d, 2) for c, d in pairs] == table["difference"]


# Declarations


def test_papers_are_found_by_being_there() -> None:
    assert paper_names() == ["donahue2017", "grigg2021", "kolesnikov2019", "mao2022", "song2017"]
    assert paper_summary("mao2022") == "GAN discriminator and classifier as feature extractors."
    assert all(find_paper(name).name == name for name in paper_names())
    with pytest.raises(UsageError, match="unknown paper 'grig2021'; did you mean"):
        find_paper("grig2021")


@pytest.mark.parametrize("paper", paper_names())
def test_the_name_of_a_step_depends_on_its_settings_alone(paper: str, tmp_path: Path) -> None:
    names = {step.path.name for step in reproduction_of(paper, tmp_path).steps}
    assert len(names) == len(reproduction_of(paper, tmp_path).steps)
    place = Folder(tmp_path / "b", device="auto")
    elsewhere = Reproduction(find_paper(paper), place, "tiny")
    assert {step.path.name for step in elsewhere.steps} == names
    # More seeds need all of the steps that fewer need, and something more.
    assert names < {step.path.name for step in reproduction_of(paper, tmp_path, seeds=3).steps}


@pytest.mark.parametrize("paper", FIRST)
def test_folders_of_the_first_release_are_found(
    paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run and every result has the name that it had: nothing is missing there.

    One setting had another default, and its networks are others: that of shared convolutions.
    Results of discriminators were of mixed batch statistics, and are made again.
    """
    for run in find_paper(paper).runs:
        if run.method == "mgan":
            monkeypatch.setitem(run.at("tiny"), "sharing", "sum")
    known = (Path(__file__).parent / "reproduced" / f"{paper}.txt").read_text().split()
    reproduction = reproduction_of(paper, tmp_path)
    names = {
        step.earlier or step.path.name if isinstance(step, Training) else earlier_stem(step)
        for step in reproduction.steps
        if step.earlier is not None
    }
    assert names == set(known)


def earlier_stem(step: Step) -> str:
    """The name that a result had in the first release."""
    assert isinstance(step, Computation)
    assert step.earlier is not None
    return step.earlier.stem


@pytest.mark.parametrize("paper", FIRST)
def test_untrained_networks_of_the_first_release_are_used_where_they_lie(
    paper: str, tmp_path: Path
) -> None:
    """They have the weights that the method begins with now, bit for bit."""
    reproduction = reproduction_of(paper, tmp_path)
    step = next(each for each in reproduction.steps if each.name == "untrained-0")
    assert isinstance(step, Training)
    own = step.path
    make_missing_run(step)
    (name,) = {"discriminator", "encoder"} & set(step.run.extractors)
    ours = step.run.load_extractor(name, statistics="mixed")
    before = tmp_path / "runs" / step.earlier
    own.rename(before)
    as_it_was(before, step.method, name)
    assert step.done
    assert step.path == before
    theirs = replace(step.extractor(name), statistics="mixed")
    assert theirs.name == "encoder"
    for network in (theirs.load(), theirs.untrained()):
        assert all(map(torch.equal, network.state_dict().values(), ours.state_dict().values()))
    (before / "checkpoint.pt").unlink()
    assert not step.done  # damaged: it is made again, under its own name
    assert step.path == own


def as_it_was(folder: Path, method: str, extractor: str) -> None:
    """Make an untrained run one of the method ``untrained``, as the first release wrote it."""
    file = folder / "config.json"
    content = json.loads(file.read_text())
    of = method if extractor == "encoder" else f"{method}:{extractor}"
    facts = content["facts"]
    facts["size"] = facts.pop("height")
    facts.pop("width")
    content.update(method="untrained", format_version=1, config={**content["config"], "of": of})
    file.write_text(json.dumps(content))
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    del state["checksum"]
    state |= {"format_version": 1, "networks": {"encoder": state["networks"][extractor]}}
    torch.save(state, folder / "checkpoint.pt")


def test_results_of_the_first_release_are_used_where_they_lie(tmp_path: Path) -> None:
    reproduction = reproduction_of("grigg2021", tmp_path)
    step = next(step for step in reproduction.steps if step.name.startswith("classes-simclr-0"))
    assert isinstance(step, Computation)
    for need in step.runs:
        make_missing_run(need)
    step.make(lambda *_: None)
    own = step.path
    assert step.earlier is not None
    for suffix in (".json", ".csv"):
        own.with_suffix(suffix).rename(own.with_name(step.earlier.stem + suffix))
    assert step.done
    assert step.path.stem == step.earlier.stem
    assert step.load().layers_b == ("classes",)
    own.with_name(step.earlier.stem + ".json").write_text("{}")
    assert not step.done  # damaged: it is made again, under its own name
    assert step.path == own


def make_missing_run(step: Training) -> None:
    step.make(lambda *_: None)


@pytest.mark.parametrize(("paper", "scale", "data"), LAYOUTS)
def test_every_scale_has_settings(paper: str, scale: str, data: str, tmp_path: Path) -> None:
    reproduction = Reproduction(find_paper(paper), Folder(tmp_path), scale, data)
    runs = [step for step in reproduction.steps if isinstance(step, Training)]
    assert len({run.path for run in runs}) == len(runs) == len({run.key for run in runs})
    assert {run.config.seed for run in runs} == set(reproduction.seeds)
    # A paper may train on its set with other parameters.
    assert {run.config.data.partition(":")[0] for run in runs} == {data.partition(":")[0]}
    assert data in {run.config.data for run in runs}
    for step in reproduction.steps:
        seen = reproduction.steps[: reproduction.steps.index(step)]
        assert all(need in seen for need in step.needs)


@pytest.mark.parametrize(("paper", "scale", "data"), LAYOUTS)
def test_nothing_learns_from_images_that_are_held_out(
    paper: str, scale: str, data: str, tmp_path: Path
) -> None:
    reproduction = Reproduction(find_paper(paper), Folder(tmp_path), scale, data)
    held_out = [
        split for name, split in reproduction.splits.items() if name in ("held_out", "compared")
    ]
    for step in reproduction.steps:
        learned = []
        if isinstance(step, Training):
            learned = [step.config.split]
        elif isinstance(step, Computation) and step.data == data and "train" in step.splits:
            learned = [step.splits["train"]]
            assert step.analysis.result in (ProbeCurve, NullSpaceReport, Table)
        for part in learned:
            assert not any(overlap(part, other) for other in held_out), (step.name, part)


def overlap(one: str, other: str) -> bool:
    """True of two splits such as ``train[:200]`` that have images in common."""
    (name, low, high), (other_name, other_low, other_high) = map(bounds, (one, other))
    return name == other_name and low < other_high and other_low < high


def bounds(split: str) -> tuple[str, float, float]:
    match = re.fullmatch(r"(\w+)(?:\[(\d*):(\d*)\])?", split)
    assert match, split
    return match[1], float(match[2] or 0), float(match[3] or "inf")


def test_layouts_that_a_paper_does_not_have_are_refused(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    with pytest.raises(UsageError, match="not laid out for 'folder'; expected mnist or cifar10"):
        Reproduction(find_paper("mao2022"), place, "small", data="folder")
    with pytest.raises(
        UsageError, match="scale long is not laid out for 'cifar10'; expected mnist"
    ):
        Reproduction(find_paper("mao2022"), place, "long", data="cifar10")


def test_scale_long_trains_as_the_paper_does_but_for_the_width(tmp_path: Path) -> None:
    """10,000 steps of 120 images, all of MNIST, by each network's own optimiser (section 4)."""
    at_scale = {
        scale: [
            step.config.identity()
            for step in Reproduction(find_paper("mao2022"), Folder(tmp_path), scale, "mnist").steps
            if isinstance(step, Training)
        ]
        for scale in ("long", "paper")
    }
    assert len(at_scale["long"]) == 18
    for ours, theirs in zip(at_scale["long"], at_scale["paper"], strict=True):
        differing = {key for key in ours if ours[key] != theirs[key]}
        assert differing == {"width"}
        assert ours["sharing"] == "turns"
    with pytest.raises(UsageError, match="asked for 1 seeds; expected at least 2"):
        reproduction_of("grigg2021", tmp_path, seeds=1)


# The example of CONTRIBUTING.md


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example as a module of its own, in no other way known to repsim."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if "PAPER = " in block)
    assert len(code.splitlines()) <= 45
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "depth2026.py").write_text(code)
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(tmp_path / "papers")])
    importlib.invalidate_caches()
    yield "depth2026"
    sys.modules.pop("repsim.figures.papers.depth2026", None)
    vars(papers).pop("depth2026", None)


def test_the_example_is_a_paper_by_being_there(
    added: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert added in paper_names()
    assert run_command("reproduce", "--help") == 0
    assert re.search(rf"{added} +Do probes get the better", capsys.readouterr().out)
    folder = tmp_path / "made"
    command = ("reproduce", added, "--scale", "tiny", "--seeds", 1, "--device", "cpu", "-o", folder)
    assert run_command(*command) == 0
    (claim,) = claims_of(folder)
    assert claim["claim"] == "1: deeper is better"
    assert (folder / "figures" / "figure-1.pdf").is_file()
    assert "![Figure 1](figures/figure-1.png)" in (folder / "report.md").read_text()


# Whole reproductions


def contents(folder: Path, *suffixes: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes and path.is_file()
    }


def written(reproduction: Reproduction) -> dict[Path, int]:
    """Times at which the last file of each finished step was written."""
    done = [step for step in reproduction.steps if step.done]
    files = [step.run.checkpoint if isinstance(step, Training) else step.path for step in done]
    return {file: file.stat().st_mtime_ns for file in files}


def claims_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "claims.csv").open() as stream:
        return list(csv.DictReader(stream))


def check_page(folder: Path, reproduction: Reproduction, page: Path) -> None:
    """Every place of the page is filled, its verdicts are those of claims.csv, its images there."""
    write_page(collect(reproduction), page)
    text = page.read_text()
    assert "{{" not in text
    assert "}}" not in text
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    verdicts = {(line[0].removeprefix("| "), line[-1].removesuffix(" |")) for line in lines}
    for claim in claims_of(folder):
        assert (claim["claim"], claim["verdict"]) in verdicts
        if claim["value"]:
            assert f"| {float(claim['value']):.3g}" in text
    for image in re.findall(r"\((images/.*?)\)", text):
        assert (page.parent / image).is_file()
    assert f"```bash\n{reproduction.command}\n```" in text


@pytest.mark.parametrize("paper", paper_names())
def test_every_place_of_a_page_and_of_its_remarks_is_known(paper: str, tmp_path: Path) -> None:
    """Whatever the results: without any, a page still names nothing that is not there."""
    place = Folder(tmp_path, device="cpu")
    for scale, data in find_paper(paper).splits:
        if scale == "paper":
            continue  # no remarks, and the image sets are not here
        findings = collect(Reproduction(find_paper(paper), place, scale, data))
        folder = find_paper(paper).folder
        assert folder is not None
        for text in ("page.md", f"remarks.{scale}.{data}.md"):
            if not (folder / text).is_file():
                continue
            places = re.findall(r"\{\{(.*?)\}\}", (folder / text).read_text())
            claims = {each.claim for each in findings.claims}
            for word in (each for each in places if each.startswith(("value ", "verdict "))):
                name = word.partition(" ")[2]
                assert name in claims or name.startswith(("2f", "2g", "2h", "2i")), word


@pytest.mark.slow
def test_grigg2021_interrupted_anywhere_ends_the_same(tmp_path: Path) -> None:
    """Stopped in a training, in an analysis and between two of them; then whole, in one go."""
    folder = tmp_path / "stopped"

    def stop_at(share: float) -> object:
        def progress(done: int, total: int, note: str = "") -> None:
            if done / total > share:
                raise Stop

        return progress

    for share in (0.0, 0.3, 0.7):
        with pytest.raises(Stop):
            make_missing(reproduction_of("grigg2021", folder), progress=stop_at(share))  # type: ignore[arg-type]
    made = written(reproduction_of("grigg2021", folder))
    assert 0 < len(made) < len(reproduction_of("grigg2021", folder).steps)
    assert make_missing(reproduction_of("grigg2021", folder)) == {}
    reproduction = reproduction_of("grigg2021", folder)
    assert written(reproduction).items() > made.items()  # none was made again
    publish(collect(reproduction))

    whole = tmp_path / "whole"
    command = ("reproduce", "grigg2021", "--scale", "tiny", "--device", "cpu")
    assert run_command(*command, "-o", whole) == 0
    ours, theirs = (
        contents(each / "figures", ".json", ".csv", ".png", ".pdf") for each in (folder, whole)
    )
    assert ours == theirs
    assert claims_of(folder) == claims_of(whole)
    check_grigg2021(whole)
    check_page(whole, reproduction_of("grigg2021", whole), tmp_path / "docs" / "grigg2021.md")


def check_grigg2021(folder: Path) -> None:
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "figure-1": ["heatmap"] * 3,
        "figure-2": ["heatmap", "heatmap", "lines"],
        "figure-3": ["lines"] * 3,
        "figure-4": ["heatmap"] * 3,
        "figure-5": ["lines"] * 2,
        "estimators": ["lines"],
        "layer-identification": ["lines"],
    }
    for name, data in figures.items():
        for suffix in (".pdf", ".png", ".csv", ".txt"):
            assert (folder / "figures" / f"{name}{suffix}").stat().st_size > 100
        for panel in data.panels:
            for series in getattr(panel, "series", ()):
                assert np.isfinite(series.values).any(), (name, series.label)
        heading = str(data.heading)
        assert heading == "None" if name == "estimators" else heading.endswith(", scale tiny")
        told = "How good the networks are: linear probes on the last block read " in data.caption
        assert told == (name != "estimators"), data.caption
    ids = {row["claim"].partition(":")[0] for row in claims_of(folder)}
    assert ids == {"4a", "4b", "4c", "4d", "4e", "4f", "4g", "4h"}
    trained = {row["verdict"] for row in claims_of(folder) if not row["claim"].startswith("4g")}
    assert trained == {"undecided: needs three"}  # two seeds
    exact = [row["verdict"] for row in claims_of(folder) if row["claim"].startswith("4g")]
    assert exact == ["supported"] * 4
    settings = (folder / "tables" / "settings.csv").read_text().splitlines()
    assert settings[0] == "setting,SimCLR,supervised"
    assert "temperature,0.5," in settings


@pytest.mark.slow
def test_mao2022_has_every_panel_and_makes_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mao"
    page = tmp_path / "docs" / "mao2022.md"
    options = ("--scale", "tiny", "--seeds", 1, "--device", "cpu")
    command = ("reproduce", "mao2022", *options, "-o", folder)
    assert run_command(*command, "--dry-run") == 0
    assert "20 of 20 runs and results are missing" in capsys.readouterr().out
    assert not folder.exists()
    assert run_command(*command, "--page", page) == 0
    output = capsys.readouterr().out
    assert "2c: classifier ahead" in output
    assert f"wrote {page}" in output
    check_page(folder, reproduction_of("mao2022", folder, seeds=1), page)
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "figure-2": ["diagram"] * 3,
        "figure-3": ["lines"] * 5,
        "table-2": ["lines"] * 2,
        "softmax-shift": ["lines"],
        "null-space": ["bars"] * 3,
        **{f"null-space-{name}-examples": ["strips"] * 2 for name in NAMES},
        **{f"null-space-{name}-noise": ["lines"] * 4 for name in NAMES},
    }
    for data in figures.values():
        assert "How good the networks are: new heads by L-BFGS read " in data.caption
        assert str(data.heading).endswith(", scale tiny")
    rows = claims_of(folder)
    exact = [row for row in rows if row["claim"][:2] in ("2a", "2b")]
    assert [row["verdict"] for row in exact] == ["supported"] * 4
    assert {row["claim"][:2] for row in rows} == {f"2{letter}" for letter in "abcdefghijk"}
    with (folder / "tables" / "table-1.csv").open() as stream:
        layers = list(csv.DictReader(stream))
    assert [row["kernel"] for row in layers if row["network"] == "generator"] == ["4x4"] * 4
    assert {row["bias"] for row in layers} == {"False"}

    # Another seed leaves what is there; without it nothing is missing.
    assert run_command(*command, "--seeds", 2, "--dry-run", "--json") == 0
    missing = json.loads(capsys.readouterr().out)
    assert {each["task"] for each in missing} >= {"mgan-removed-0-1", "mgan-removed-4-1"}
    assert not any(re.search(r"(removed-\d|untrained)-0", each["task"]) for each in missing)
    assert reproduction_of("mao2022", folder, seeds=1).missing() == []
    # A figure is drawn again from its own file, in another size.
    figure = folder / "figures" / "table-2.json"
    assert run_command("figure", figure, "--style", "column", "-o", tmp_path / "again") == 0
    assert (tmp_path / "again.pdf").is_file()
    # All of them are, with other names, by the options of every command that draws.
    options = ("--style", "column", "--width", "8cm", "--font", "serif 7", "--format", "svg")
    names = ("--rename", "discriminator=D", "--rename", "nobody=N")
    capsys.readouterr()
    assert run_command(*command, *options, *names) == 0
    output = capsys.readouterr()
    assert "note: no figure has a network or layer 'nobody'" in output.err
    assert f"wrote {folder / 'figures' / 'null-space.svg'}" in output.out
    assert "the D, " in (folder / "figures" / "null-space-discriminator-noise.txt").read_text()


@pytest.mark.slow
def test_a_failure_is_told_and_the_command_ends_with_1(
    added: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UsageError("this probe cannot be")

    monkeypatch.setattr("repsim.activations.analyses.probe.probe_layers", fail)
    folder = tmp_path / "made"
    command = ("reproduce", added, "--scale", "tiny", "--seeds", 1, "--device", "cpu", "-o", folder)
    assert run_command(*command) == 1
    told = capsys.readouterr()
    assert "probe-supervised-0 failed: this probe cannot be" in told.err
    assert "undecided" in told.out
    report = (folder / "report.md").read_text()
    assert "- probe-supervised-0: this probe cannot be" in report
    assert "- figure 1: it needs the result probe-supervised-0, which was not made" in report
    assert claims_of(folder)[0]["verdict"] == "undecided"
