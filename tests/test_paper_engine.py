"""The engine of papers: steps, their keys, and their production, whatever the paper."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import Field
from toy_paper import (
    ACROSS,
    COUNT,
    NETWORK,
    OTHER,
    PAIRS,
    SPLITS,
    Count,
    CountConfig,
    Writing,
    many,
    paper,
    toy,
)

from repsim.configuration import setting
from repsim.errors import DataError, DegenerateError, StoreError, UsageError
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.papers import find_paper
from repsim.figures.papers.engine import (
    Claim,
    Folder,
    Reproduction,
    Run,
    analysis,
    grid,
    mean_line,
    only,
    over_seeds,
    several,
)
from repsim.figures.papers.engine.estimates import Cost, Estimator, estimate
from repsim.figures.papers.engine.failures import reason_of
from repsim.figures.papers.engine.found import Found, Missing
from repsim.figures.papers.engine.log import Log
from repsim.figures.papers.engine.markdown import table_of
from repsim.figures.papers.engine.page import write_page
from repsim.figures.papers.engine.production import Free, Schedule, make_missing
from repsim.figures.papers.engine.report import collect, publish
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.figures.style import Style
from repsim.jackknife import network_interval
from repsim.progress import silent
from repsim.results import FigureData
from repsim.training.methods.supervised import Config, Supervised


class Stop(BaseException):
    """An interruption, as by a key."""


# --- lines of a paper


def test_a_run_has_settings_for_every_scale_and_for_one() -> None:
    run = Run("simclr", width=4, small={"depth": 34, "width": 8})
    assert [run.at(scale) for scale in ("tiny", "small")] == [
        {"width": 4},
        {"width": 8, "depth": 34},
    ]
    control = run.untrained("before")
    assert control.at("small") == {"width": 8, "depth": 34, "epochs": 0}
    assert (control.method, control.name) == ("simclr", "before")


def test_runs_and_analyses_are_of_their_scales(tmp_path: Path) -> None:
    """Others are missing there, for a reason that names a scale that has them."""
    wide = Run("supervised", "wide", epochs=0, scales=("long", "paper"))
    count = analysis(Count)(wide, on={"counted": "held_out"})
    parts = SPLITS["tiny", "digits"]
    splits = {("tiny", "digits"): parts, ("long", "digits"): parts}
    asked = paper(COUNT, count, runs=(NETWORK, wide, OTHER), splits=splits)
    tiny, long = (
        Reproduction(asked, Folder(tmp_path / scale, device="cpu"), scale)
        for scale in ("tiny", "long")
    )
    assert list(tiny.trainings) == [NETWORK, OTHER]
    assert list(tiny.computations) == [COUNT]
    assert list(long.trainings) == [NETWORK, wide, OTHER]
    assert list(long.computations) == [COUNT, count]
    assert wide.untrained("before").scales == wide.scales
    assert analysis(Count)(NETWORK, on={"counted": "held_out"}, scales=["long"]).scales == ("long",)
    found = Found(tiny)
    assert COUNT not in found
    assert count not in found
    reason = "which scale tiny does not lay out; --scale long or paper has it"
    for look in (lambda: found[count], lambda: found.trained(wide), lambda: found.networks(count)):
        with pytest.raises(Missing, match=f"wide, {reason}"):
            look()
    make_missing(tiny)
    assert COUNT in Found(tiny)


def test_a_grid_has_a_line_at_every_point() -> None:
    runs = grid(Run, method=("gan", "wgan"), width=(1, 2))
    assert list(runs) == [("gan", 1), ("gan", 2), ("wgan", 1), ("wgan", 2)]
    assert runs["wgan", 2].at("paper") == {"width": 2}
    assert list(grid(Run, method=("gan", "wgan"))) == ["gan", "wgan"]


def test_networks_of_one_run_are_compared_in_pairs_and_of_two_runs_by_seed(tmp_path: Path) -> None:
    reproduction = Reproduction(
        paper(PAIRS, ACROSS), Folder(tmp_path, device="cpu"), "tiny", seeds=3
    )
    names = {
        each: [step.name for step in steps] for each, steps in reproduction.computations.items()
    }
    assert names[PAIRS] == [
        f"cka-supervised-{a}-supervised-{b}" for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert names[ACROSS] == [f"cka-supervised-{seed}-other-{seed}" for seed in range(3)]


def test_lines_about_other_image_sets_are_left_out(tmp_path: Path) -> None:
    splits = {**SPLITS, ("small", "mnist"): SPLITS["tiny", "digits"]}
    asked = paper(COUNT, ACROSS, splits=splits)
    small = Reproduction(asked, Folder(tmp_path, device="cpu"), "small")
    assert [run.name for run in small.trainings] == ["supervised"]
    assert list(small.computations) == [COUNT]  # the other network is of digits only


def test_an_analysis_may_be_of_other_images_at_the_size_of_its_networks(tmp_path: Path) -> None:
    scenes, small = "scenes:base=digits,scenes=90", Run("supervised", epochs=0, image_size="own")
    own, elsewhere = (
        analysis(Count)(small, on={"counted": "held_out"}, data=data)
        for data in ({}, {"digits": scenes, "mnist": "scenes"})
    )
    made = toy(tmp_path, own, elsewhere, runs=(small,), claims=())
    here, there = (made.computations[each][0] for each in (own, elsewhere))
    assert (here.data, there.data) == ("digits", scenes)
    assert here.key != there.key
    assert there.sizes == {"counted": 80}
    (images,) = there._images().values()
    assert (images.name, images.split, images.size) == (scenes, "test[0:80]", (8, 8))
    assert images.target is not None
    assert images.target.name == "objects"
    assert next(iter(here._images().values())).name == "digits"


def test_an_analysis_of_too_many_networks_is_refused() -> None:
    with pytest.raises(UsageError, match="similarity of 1 networks; expected 2"):
        analysis("similarity")(NETWORK)
    with pytest.raises(UsageError, match="unknown key 'kernal'"):
        analysis("similarity")(NETWORK, NETWORK, kernal="rbf")


def test_scales_and_sets_that_are_not_laid_out_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(UsageError, match="toy is not laid out at scale long; expected tiny"):
        Reproduction(paper(), folder, "long")
    with pytest.raises(UsageError, match="unknown scale 'huge'"):
        Reproduction(paper(), folder, "huge")
    with pytest.raises(UsageError, match="not laid out for 'mnist'; expected digits"):
        Reproduction(paper(), folder, "tiny", data="mnist")
    with pytest.raises(UsageError, match="asked for 1 seeds; expected at least 2"):
        Reproduction(paper(fewest_seeds=2), folder, "tiny", seeds=1)


# --- keys


def run_of(folder: Path, **settings: Any) -> Training:
    return Training(Folder(folder), "a", "supervised", {"data": "digits", "epochs": 1, **settings})


def counts(folder: Path, **settings: Any) -> list[str]:
    count = analysis(Count)(NETWORK, on={"counted": "held_out"}, **settings)
    return [step.path.name for step in toy(folder, count).computations[count]]


def test_every_setting_of_a_run_and_of_an_analysis_is_in_the_key(tmp_path: Path) -> None:
    assert run_of(tmp_path, lr=0.1).path != run_of(tmp_path, lr=0.2).path
    assert run_of(tmp_path, device="cpu").path == run_of(tmp_path).path
    assert set(counts(tmp_path)).isdisjoint(counts(tmp_path, times=2))
    for key, value in {"kernel": "rbf", "batch_size": 128, "seed": 1, "layers": "even"}.items():
        changed = analysis("similarity")(NETWORK, NETWORK, augmentation="none", **{key: value})
        usual = analysis("similarity")(NETWORK, NETWORK, augmentation="none")
        reproduction = toy(tmp_path, usual, changed, splits=COMPARED)
        (one,), (other,) = reproduction.computations.values()
        assert one.path != other.path, key


COMPARED = {("tiny", "digits"): {**SPLITS["tiny", "digits"], "compared": "test[:80]"}}


def test_a_setting_that_is_added_still_finds_old_runs_and_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(Config):
        sharpness: float = Field(0.5, json_schema_extra={"before": 0.5})

    @dataclass(frozen=True)
    class LaterCount(CountConfig):
        step: int = setting(1, "added later", before=1)

    old, old_counts = run_of(tmp_path).path, counts(tmp_path)
    monkeypatch.setattr(Supervised, "settings", Later)
    monkeypatch.setattr(Count, "config_class", LaterCount)
    assert run_of(tmp_path).path == old
    assert run_of(tmp_path, sharpness=1.0).path != old
    assert counts(tmp_path) == old_counts
    assert set(counts(tmp_path, step=2)).isdisjoint(old_counts)


def test_a_default_that_changes_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changed(Config):
        lr: float = Field(0.3, gt=0)

    @dataclass(frozen=True)
    class ChangedCount(CountConfig):
        times: int = setting(3, "how often each image is counted")

    old, old_counts = run_of(tmp_path).path, counts(tmp_path)
    monkeypatch.setattr(Count, "config_class", ChangedCount)
    assert set(counts(tmp_path)).isdisjoint(old_counts)
    monkeypatch.setattr(Supervised, "settings", Changed)
    assert run_of(tmp_path).path != old


# --- production


def test_everything_is_made_once_and_found_again(tmp_path: Path) -> None:
    reproduction = toy(tmp_path, COUNT, PAIRS)
    assert make_missing(reproduction) == {}
    made = {step.path: step.path.stat().st_mtime_ns for step in reproduction.steps}
    again = toy(tmp_path, COUNT, PAIRS)
    assert again.missing() == []
    assert make_missing(again) == {}
    assert {step.path: step.path.stat().st_mtime_ns for step in again.steps} == made
    assert [row["task"] for row in Log(again.folder).rows()] == [path.name for path in made]
    (finding,) = collect(again).claims
    assert (finding.value, finding.test) == (80.0, "images of test[:80]")


def test_a_result_is_made_again_when_it_or_its_network_is_another(tmp_path: Path) -> None:
    reproduction = toy(tmp_path)
    make_missing(reproduction)
    step = reproduction.computations[COUNT][0]
    whole = step.path.read_bytes()
    for damage in (whole[:100], b"{}", whole.replace(b"similarity-map", b"probe-curve")):
        step.path.write_bytes(damage)
        assert not step.done
        step.make(silent)
        assert step.done
        assert step.path.read_bytes() == whole
    step.path.with_suffix(".csv").unlink()
    assert not step.done
    step.make(silent)
    checkpoint = step.runs[0].run.checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes() + b" ")
    assert not step.done
    checkpoint.unlink()
    assert not step.done


BAD = analysis(Count)(NETWORK, on={"counted": "held_out"}, name="bad", times=-1)
BUG = analysis(Count)(NETWORK, on={"counted": "held_out"}, name="bug", times=0)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_step_that_fails_is_reported_and_the_rest_goes_on(tmp_path: Path, jobs: int) -> None:
    reproduction = toy(tmp_path, BAD, BUG, COUNT)
    failed = {step.name: error for step, error in make_missing(reproduction, jobs=jobs).items()}
    assert set(failed) == {
        f"{name}-supervised-{seed}" for name in ("bad", "bug") for seed in (0, 1)
    }
    assert failed["bad-supervised-0"] == "nothing is counted fewer times than never"
    assert failed["bug-supervised-0"].startswith("ZeroDivisionError: a bug; the traceback is in ")
    (trace,) = (tmp_path / "failures").glob("bug-supervised-0*.txt")
    assert "Traceback" in trace.read_text()
    findings = collect(reproduction, failed)
    assert findings.claims[0].value == 80.0  # made of what did not fail
    publish(findings)
    report = (tmp_path / "report.md").read_text()
    assert "- bad-supervised-0: nothing is counted fewer times than never\n" in report
    assert [row["task"] for row in Log(reproduction.folder).rows() if "bad" in row["task"]] == []


def test_messages_of_failures_are_one_line_with_one_remedy(tmp_path: Path) -> None:
    reproduction = toy(tmp_path)
    step = reproduction.steps[0]
    assert isinstance(step, Training)
    step.make(silent)
    step.run.checkpoint.write_bytes(b"damaged" * 100_000)
    with pytest.raises(StoreError, match="; train the run anew with --overwrite$") as usual:
        step.run.load_method()
    reason = reason_of(usual.value, reproduction.folder, "a")
    problem = f"{step.run.checkpoint} is damaged or not a checkpoint"
    assert reason == f"{problem}; remove it, and run the same command again"
    step.run.checkpoint.unlink()  # as it says
    step.make(silent)
    step.run.load_method()
    assert reason_of(UsageError("in two\n  lines"), reproduction.folder, "a") == "in two lines"
    assert not (tmp_path / "failures").exists()
    assert reason_of(KeyError(), reproduction.folder, "a").startswith("KeyError; the traceback is")


def bug(found: Any) -> Any:
    return {}["no such key"]


def plain(found: Any) -> FigureData:
    points = Lines("", "x", "y", [1.0], [Line("a", [1.0])])
    return found.figure("Figure 2", "A point.", [points])


def of_networks(found: Any) -> FigureData:
    return found.figure("Networks", "As built.", plain(found).panels, part=None)


def of_no_network(found: Any) -> FigureData:
    return found.figure("Numbers", "Of no network.", plain(found).panels, networks=False)


def test_figures_name_their_images_and_the_scale(tmp_path: Path) -> None:
    reproduction = toy(tmp_path, figures=(plain, of_networks, of_no_network))
    make_missing(reproduction)
    headings = [each.heading for each in collect(reproduction).figures]
    assert headings == ["digits test[:80], scale tiny", "digits, scale tiny", None]


def test_figures_have_the_size_files_and_names_that_were_asked_for(tmp_path: Path) -> None:
    reproduction = toy(tmp_path, figures=(plain,))
    make_missing(reproduction)
    used: set[str] = set()
    style = Style("column", width=4.0)
    names = {"a": "renamed", "point": "dot", "none": "other"}
    publish(collect(reproduction), style=style, formats=("svg",), names=names, used=used)
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    assert made == {f"figure-2.{each}" for each in ("json", "csv", "txt", "png", "svg")}
    assert "![Figure 2](figures/figure-2.png)" in (tmp_path / "report.md").read_text()
    assert used == {"a", "point"}
    assert "A dot." in (tmp_path / "figures" / "figure-2.txt").read_text()
    image = (tmp_path / "figures" / "figure-2.svg").read_text()
    assert f'width="{72 * 4.0:g}pt"' in image
    kept = FigureData.load(tmp_path / "figures" / "figure-2.json")
    assert kept.panels[0].labelled()[0].label == "a"


def all_but_one(found: Any) -> Iterator[Claim]:
    for number, values in enumerate((bug, lambda found: [1.0, 1.0, 1.0])):
        yield over_seeds(f"several {number}", "b", "c", above=0.5)(values)


def test_a_bug_in_a_figure_table_or_claim_loses_no_other(tmp_path: Path) -> None:
    claims = (over_seeds("bad", "b", "c", above=0.5)(bug), several("s", "b")(all_but_one), many)
    broken = several("broken", "b")(bug)
    declared = {"claims": (broken, *claims), "tables": {"bad": bug, "good": lambda found: []}}
    reproduction = toy(tmp_path, figures=(bug, plain), **declared)
    make_missing(reproduction)
    findings = collect(reproduction)
    assert [each.name for each in findings.figures] == ["Figure 2"]
    assert list(findings.tables) == ["good"]
    assert [each.value for each in findings.claims[-2:]] == [1.0, 80.0]
    assert [each.verdict for each in findings.claims[:3]] == ["undecided"] * 3
    failed = ["figure bug", "table bad", "claim broken", "claim bad", "claim several 0"]
    assert list(findings.failures) == failed
    for name in failed:
        assert findings.failures[name].startswith("KeyError: 'no such key'; the traceback is in ")
        file = tmp_path / "failures" / f"{name.replace(' ', '-')}.txt"
        assert "Traceback" in file.read_text()


def test_without_training_what_the_trained_networks_give_is_made(tmp_path: Path) -> None:
    trained = Run("supervised", "trained", epochs=1)
    waiting = analysis(Count)(trained, on={"counted": "held_out"}, name="waiting")

    @over_seeds("2: waits", "b", "c", above=50.0)
    def waits(found: Any) -> list[float]:
        return [float(each.unbiased[0, 0]) for each in found[waiting]]

    def drawn(found: Any) -> FigureData:
        raise AssertionError(f"{found[waiting]} are there")

    declared = {"runs": (NETWORK, trained), "claims": (many, waits), "figures": (plain, drawn)}
    reproduction = toy(tmp_path, COUNT, waiting, **declared)
    assert make_missing(reproduction, train=False) == {}
    assert [step.name for step in reproduction.missing()] == [
        "trained-0",
        "trained-1",
        "waiting-trained-0",
        "waiting-trained-1",
    ]
    findings = collect(reproduction)
    needs = "it needs the result waiting-trained-0, which was not made"
    assert [each.value for each in findings.claims][:1] == [80.0]
    assert findings.claims[1].note == needs
    assert findings.failures == {}
    assert findings.left == {"figure drawn": needs}
    publish(findings)
    report = (tmp_path / "report.md").read_text()
    assert ". 4 of 8 runs and results; added up, they took " in report
    missing = f"## What is not there yet\n\n- figure drawn: {needs}"
    assert missing in (tmp_path / "report.md").read_text()
    assert f"\n- 2: waits: {needs}.\n" in report


def test_the_page_says_what_was_not_made_in_its_place(tmp_path: Path) -> None:
    text = "{{claims}}\n\n{{figures}}\n\n{{table bad}}\n\n{{table good}}\n\n{{value none}}"
    (tmp_path / "page.md").write_text(text)
    page = tmp_path / "docs" / "toy.md"
    declared = {"tables": {"bad": bug, "good": lambda found: [{"a": 1}]}, "figures": (bug, plain)}
    reproduction = toy(tmp_path / "made", folder_of_paper=tmp_path, **declared)
    findings = collect(reproduction)
    publish(findings)
    write_page(findings, page)
    shown = page.read_text()
    assert "| 1: many | images of test[:80] |" in shown
    assert "![Figure 2](images/toy-figure-2.png)" in shown
    assert "(Not made: figure bug: KeyError: 'no such key'; the traceback is in " in shown
    assert "(Not made: table bad: KeyError: 'no such key'; " in shown
    assert "| 1 |" in shown
    assert "(Not made: value none: a result that it needs was not made.)" in shown
    whole = replace(findings, failures={})
    with pytest.raises(UsageError, match="the page has {{table bad}}"):
        write_page(whole, page)


def scheduled(*steps: Step) -> Schedule:
    class NoLog:
        def add(self, step: Step, seconds: float) -> None: ...

    costs = {step: Cost(1.0, 100, 0, "cpu") for step in steps}
    return Schedule(costs, NoLog(), silent)  # type: ignore[arg-type]


def test_a_page_leaves_out_sections_whose_tables_are_of_other_image_sets(tmp_path: Path) -> None:
    parts = ("{{data}}", "## Mine\n{{table mine}} {{table theirs}}", "## Theirs\n{{table theirs}}")
    (tmp_path / "page.md").write_text("\n\n".join([*parts, "## Last\nno table\n"]))
    tables = {"mine": lambda found: [{"a": 1}], "theirs": only("mnist")(bug)}
    made = toy(tmp_path / "made", folder_of_paper=tmp_path, tables=tables)
    write_page(collect(made), tmp_path / "toy.md")
    shown = (tmp_path / "toy.md").read_text()
    assert [line for line in shown.splitlines() if line.startswith("## ")] == ["## Mine", "## Last"]
    assert "(This table is not of digits.)" in shown


def test_images_of_a_page_are_the_figures_with_their_records(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("{{figures}}")
    reproduction = toy(tmp_path / "made", figures=(plain,), folder_of_paper=tmp_path)
    make_missing(reproduction)
    findings = collect(reproduction)
    publish(findings)
    _, image = write_page(findings, tmp_path / "docs" / "toy.md")
    shown, drawn = Image.open(image), Image.open(tmp_path / "made" / "figures" / "figure-2.png")
    assert shown.mode == "RGB"
    assert shown.tobytes() == drawn.convert("RGB").tobytes()
    assert shown.info["dpi"] == drawn.info["dpi"]
    assert shown.info["Description"] == drawn.info["Description"]
    assert image.stat().st_size < (tmp_path / "made" / "figures" / "figure-2.png").stat().st_size


def test_with_a_step_that_fails_the_steps_that_need_it_fail(tmp_path: Path) -> None:
    from repsim.figures.papers.engine.production import _make_in_order

    first = Writing(tmp_path, "first", error=DegenerateError("no rows"))
    second, third = Writing(tmp_path, "second", first), Writing(tmp_path, "third")
    fourth = Writing(tmp_path, "fourth", second, third)
    schedule = scheduled(first, second, third, fourth)
    _make_in_order(schedule)
    assert third.done
    assert {step.name: error for step, error in schedule.failures.items()} == {
        "first": "no rows",
        "second": "needs first, which failed",
        "fourth": "needs second, which failed",
    }


def test_steps_beside_each_other_have_room_and_runs_of_their_own(tmp_path: Path) -> None:
    steps = [
        Writing(tmp_path, "a", touches=("one",)),
        Writing(tmp_path, "b", touches=("one", "two")),
        Writing(tmp_path, "c"),
    ]
    a, b, c = steps
    d = Writing(tmp_path, "d", a)
    schedule = scheduled(*steps, d)
    assert schedule.ready([], Free({"cpu": 0}, 0)) is a  # alone, whatever the memory
    schedule.waiting.remove(a)
    assert schedule.ready([a], Free({"cpu": 250}, 2)) is c  # b writes where a does, d needs a
    assert schedule.ready([a], Free({"cpu": 150}, 2)) is None
    assert schedule.ready([a], Free({"cpu": 250}, 1)) is None  # each keeps a core busy
    schedule.waiting.remove(c)
    assert schedule.ready([c], Free({"cpu": 250}, 2)) is b


def test_progress_is_of_the_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_missing(toy(tmp_path), progress=lambda done, total, note="": told.append((done, total)))
    assert len({total for _, total in told}) == 1
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_an_interruption_is_no_failure(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str = "") -> None:
        if note.startswith("toy"):  # the first result
            raise Stop

    with pytest.raises(Stop):
        make_missing(toy(tmp_path), progress=stop)
    assert [step.kind for step in toy(tmp_path).missing()] == ["result", "result"]
    assert make_missing(toy(tmp_path)) == {}


def test_estimates_have_time_memory_and_disk(tmp_path: Path) -> None:
    reproduction = toy(tmp_path)
    rows = estimate(reproduction.missing())
    assert [row["task"] for row in rows] == [step.name for step in reproduction.steps]
    assert all(row["memory"] > 1 << 20 for row in rows)
    runs = [row for row in rows if row["kind"] == "run"]
    assert all(row["bytes"] > 1000 for row in runs)


def test_a_folder_is_of_one_reproduction_and_one_process(tmp_path: Path) -> None:
    contents = {"paper": "a", "scale": "tiny", "data": "digits"}
    with (
        Folder(tmp_path).lock(contents),
        pytest.raises(UsageError, match="being worked on by another process"),
        Folder(tmp_path).lock(contents),
    ):
        pass
    with (
        pytest.raises(UsageError, match=r"another reproduction \(a, tiny, digits\); choose"),
        Folder(tmp_path).lock({**contents, "paper": "b"}),
    ):
        pass
    toy(tmp_path / "new").check_folder()
    with pytest.raises(UsageError, match="another reproduction .*choose another --output"):
        toy(tmp_path).check_folder()


def test_a_damaged_log_is_begun_anew(tmp_path: Path) -> None:
    reproduction = toy(tmp_path)
    (tmp_path / "log.csv").write_text("task,seconds\nbroken")
    log = Log(reproduction.folder)
    log.add(reproduction.steps[-1], 2.0)
    log.add(reproduction.steps[-2], 3.0)
    assert [row["seconds"] for row in log.rows()] == ["2.0", "3.0"]


def test_steps_keep_their_share_of_the_cores_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    step = toy(tmp_path).steps[0]
    assert [Estimator(jobs).of(step).cores for jobs in (1, 2, 3, 8)] == [4, 2, 1, 1]


def test_stored_bytes_belong_to_the_analysis() -> None:
    usual, running = (
        analysis("similarity")(NETWORK, NETWORK, augmentation=each) for each in (None, "none")
    )
    stores = {"compared": 7}
    assert usual.analysis.stored_bytes({"compared": 3}, stores.__getitem__) == 7
    assert running.analysis.stored_bytes({"compared": 3}, stores.__getitem__) == 0


def test_nothing_is_estimated_of_images_that_are_not_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "nothing", "cpu")
    steps = Reproduction(find_paper("mao2022"), folder, "small", "mnist").missing()
    with pytest.raises(DataError, match="repsim data fetch mnist"):
        estimate(steps)


def test_networks_of_results_are_known_by_their_names(tmp_path: Path) -> None:
    found = Found(toy(tmp_path, COUNT, PAIRS, ACROSS))
    assert found.networks(COUNT) == [("supervised-0",), ("supervised-1",)]
    assert found.networks(PAIRS) == [("supervised-0", "supervised-1")]
    assert found.networks(ACROSS) == [("supervised-0", "other-0"), ("supervised-1", "other-1")]


def test_lines_of_pairs_have_bands_over_networks() -> None:
    pairs = [("x-0", "x-1"), ("x-0", "x-2"), ("x-1", "x-2")]
    values = np.random.default_rng(0).normal(size=(3, 4))
    line, over_pairs = mean_line("x", values, networks=pairs), mean_line("x", values)
    assert (line.values, line.low) == tuple(
        tuple(end) for end in network_interval(values, pairs)[:2]
    )
    width = np.subtract(line.high, line.low) / np.subtract(over_pairs.high, over_pairs.low)
    assert width == pytest.approx(np.full(4, 2.0))


def test_a_value_and_its_interval_are_one_cell_of_a_page() -> None:
    rows = [
        {"removed": 0, "accuracy": 96.021, "accuracy_low": 95.44, "accuracy_high": 96.6},
        {"removed": 1, "accuracy": 95.9, "accuracy_low": math.nan, "accuracy_high": math.nan},
        {"removed": 2, "accuracy": None, "accuracy_low": None, "accuracy_high": None},
    ]
    lines = table_of(rows).splitlines()
    assert lines[0] == "| removed | accuracy |"
    assert lines[2:] == ["| 0 | 96.02 (95.44 to 96.6) |", "| 1 | 95.9 |", "| 2 |  |"]
    assert table_of([{"classes_low": 3}]).splitlines()[0] == "| classes, low |"
