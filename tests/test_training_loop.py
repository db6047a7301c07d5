"""The loop, for every method: parts of batches, averages, series, stops, sheets, logs."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from driving import Stop, run_command, stop_at, train_before
from PIL import Image

from repsim.cli.main import main
from repsim.configuration import read_toml, to_toml
from repsim.errors import TrainingError, UsageError
from repsim.networks.families import family_names
from repsim.training import methods, mode_collapse
from repsim.training.compose import config_for, configure, settings_of_family
from repsim.training.config import TrainConfig
from repsim.training.loop import train
from repsim.training.methods import find_method, method_names
from repsim.training.presets import FOLDER, PRESETS, read_preset
from repsim.training.run import Run

PART = {"split": "train[:200]", "test": "test[:100]", "device": "cpu"}
#: By default, statistics are of many more images than runs train on here.
FEW = {"statistics_batches": 3}


def configured(method: str, **values: Any) -> Any:
    return configure(method, {**PART, **values}, "test")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Configurations of the method of ``tests/toy.py``, found like any other."""
    folder = tmp_path / "methods"
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "toy.py", folder)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "repsim.training.methods.toy", raising=False)

    def configure(**values: Any) -> Any:
        return configured("toy", **{"epochs": 4, "batch_size": 40, **values})

    return configure


def weights(run: Run, epoch: int | None = None) -> dict[str, torch.Tensor]:
    file = run.checkpoint if epoch is None else run.checkpoint_at(epoch)
    return run.load_state(file)["networks"]["net"]


def column(run: Run, name: str) -> list[float]:
    with (run.path / "metrics.csv").open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream)]


# Parts of a batch


def test_parts_of_a_batch_add_up_to_the_batch(toy: Any, tmp_path: Path) -> None:
    """The same gradients up to rounding, since nothing in this method looks across a batch."""
    whole = train("toy", toy(), tmp_path / "whole")
    parts = train("toy", toy(accumulate=4), tmp_path / "parts")
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(column(parts, "loss_a"), column(whole, "loss_a"), rtol=1e-5)


def test_parts_that_do_not_divide_the_batch_are_refused(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch_size is 40; expected a multiple of 3"):
        train("toy", toy(accumulate=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_optimiser_that_steps_more_often_takes_no_parts(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'net' steps 2 times a batch, which"):
        train("toy", toy(accumulate=2, twice=True), tmp_path / "run")


# Learning rates


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_learning_rates_scale_with_the_batch(
    toy: Any, tmp_path: Path, scaling: str, factor: float
) -> None:
    """Four times the batch size at one rate is one batch size at the rate so scaled."""
    scaled = train("toy", toy(lr_scaling=scaling, lr_batch=10), tmp_path / "scaled")
    plain = train("toy", toy(lr=0.05 * factor), tmp_path / "plain")
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(scaled)[name], value)


def test_simclr_scales_its_rate_once() -> None:
    config = configured("simclr", batch_size=128, lr=0.5)
    assert config.lr_scale == 0.5
    (optimizer,) = build(config, "simclr").optimizers().values()
    assert optimizer.param_groups[0]["lr"] == 0.5


def build(config: TrainConfig, method: str) -> Any:
    from repsim.networks.image_spec import ImageSpec

    return find_method(method)(config, ImageSpec(1, 10, 32, 32, False))


# Averages


def test_the_average_of_the_weights_has_its_closed_form(toy: Any, tmp_path: Path) -> None:
    """a_n = d^n w_0 + (1 - d) sum_k d^(n - k) w_k, where an epoch is one step."""
    steps = 6
    one_step = toy(epochs=steps, batch_size=200, save_every=1)
    series = train("toy", one_step, tmp_path / "series")
    averaged = train("toy", toy(epochs=steps, batch_size=200, ema=0.7), tmp_path / "averaged")
    for name in weights(series):
        expected = 0.7**steps * weights(series, 0)[name].double()
        for k in range(1, steps + 1):
            expected += 0.3 * 0.7 ** (steps - k) * weights(series, k)[name].double()
        torch.testing.assert_close(weights(averaged)[name].double(), expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(weights(averaged)[name], weights(series)[name])


def test_averaged_networks_are_those_that_are_scored_and_loaded(tmp_path: Path) -> None:
    """At a decay near 1 nothing moves from the initial weights, whatever was trained."""
    values = {"depth": 10, "width": 4, "batch_size": 50, "epochs": 1}
    run = train("supervised", configured("supervised", **values, ema=1 - 1e-12), tmp_path / "ema")
    begun = train("supervised", configured("supervised", **{**values, "epochs": 0}), tmp_path / "0")
    for name, value in begun.load_extractor().state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(run.load_extractor().state_dict()[name], value)
    scores = [each.load_state(each.checkpoint)["held_out"] for each in (run, begun)]
    assert scores[0] == scores[1]


# Precision


def test_bfloat16_changes_the_arithmetic_and_not_the_weights_type(tmp_path: Path) -> None:
    values = {"depth": 10, "width": 4, "batch_size": 50, "epochs": 2, "warmup_epochs": 0}
    runs = {
        precision: train(
            "supervised", configured("supervised", **values, precision=precision), tmp_path / name
        )
        for name, precision in (("full", "32-true"), ("half", "bf16-mixed"))
    }
    losses = {precision: column(run, "loss") for precision, run in runs.items()}
    assert losses["32-true"] != losses["bf16-mixed"]
    np.testing.assert_allclose(losses["bf16-mixed"], losses["32-true"], rtol=0.1)
    state = runs["bf16-mixed"].load_state(runs["bf16-mixed"].checkpoint)["networks"]["encoder"]
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}


def test_float16_is_refused_where_losses_are_not_scaled(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16-mixed needs a cuda device, not cpu; try"):
        train("toy", toy(precision="16-mixed"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# The series


@pytest.mark.parametrize(
    ("save_every", "kept"),
    [(0, []), (2, [0, 2, 3]), ("0,1", [0, 1]), ((3,), [3]), ("3", [0, 3])],
)
def test_checkpoints_are_kept_by_epoch(
    toy: Any, tmp_path: Path, save_every: object, kept: list[int]
) -> None:
    run = train("toy", toy(epochs=3, save_every=save_every), tmp_path / "run")
    assert run.epochs == kept
    for epoch in kept:
        assert run.load_state(run.checkpoint_at(epoch))["epoch"] == epoch
    if 3 in kept:
        final = run.load_extractor().state_dict()
        for name, value in run.load_extractor(epoch=3).state_dict().items():
            assert torch.equal(value, final[name])
    if len(kept) > 1:
        assert len({run.digest(epoch) for epoch in kept}) == len(kept)
        first, last = (run.load_extractor(epoch=kept[k]).state_dict() for k in (0, -1))
        assert not all(torch.equal(first[name], last[name]) for name in first)
    with pytest.raises(UsageError, match=f"epoch 9; {'there is' if kept else 'it kept none'}"):
        run.load_extractor(epoch=9)


@pytest.mark.parametrize("text", ["one", "1,,2", "-1", "1,-2"])
def test_epochs_to_keep_that_are_none(toy: Any, text: str) -> None:
    with pytest.raises(UsageError, match="save_every = "):
        toy(save_every=text)


def test_the_series_goes_with_the_run_it_belongs_to(toy: Any, tmp_path: Path) -> None:
    run = train("toy", toy(epochs=2, save_every=1), tmp_path / "run")
    train("toy", toy(epochs=1, save_every="1,"), run.path, overwrite=True)
    assert run.epochs == [1]


# Resuming


def test_a_run_with_everything_resumes_bit_for_bit(tmp_path: Path) -> None:
    values = {
        **{"depth": 10, "width": 4, "batch_size": 40, "epochs": 4, "warmup_epochs": 1},
        **{"ema": 0.9, "accumulate": 2, "save_every": 1, "split": "train[:80]"},
    }
    config = configured("simclr", **values)
    whole = train("simclr", config, tmp_path / "whole")
    for stop in (1, 5):  # within the first epoch, and within the third
        with pytest.raises(Stop):
            train("simclr", config, tmp_path / f"{stop}", progress=stop_at(stop))
        again = train("simclr", config, tmp_path / f"{stop}", resume=True)
        assert again.digest() == whole.digest()
        assert again.epochs == whole.epochs == [0, 1, 2, 3, 4]
        assert [again.digest(epoch) for epoch in again.epochs] == [
            whole.digest(epoch) for epoch in whole.epochs
        ]
        assert column(again, "loss") == column(whole, "loss")


def test_a_run_of_an_earlier_version_resumes_with_the_defaults_of_newer_settings(
    toy: Any, tmp_path: Path
) -> None:
    import json

    run = train("toy", toy(), tmp_path / "run")
    content = json.loads((run.path / "config.json").read_text())
    for name in ("ema", "accumulate", "devices"):
        del content["config"][name]
    (run.path / "config.json").write_text(json.dumps(content))
    assert train("toy", toy(), run.path, resume=True).complete


# Stopping


def test_the_loss_that_goes_first_is_named_and_the_last_good_epoch_kept(
    toy: Any, tmp_path: Path
) -> None:
    """``loss_b`` at step 13 of 5 an epoch; ``loss_a`` follows, as the weights are lost."""
    run = Run(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"^loss_b became nan at step 13, in epoch 3; "):
        train("toy", toy(nan_at=12), run.path)
    assert not run.complete
    assert run.epochs == [2]
    kept = train("toy", toy(save_every=1), tmp_path / "good")
    for name, value in weights(kept, 2).items():
        assert torch.equal(weights(run, 2)[name], value)
    assert len(column(run, "loss_a")) == 2


def test_weights_lost_in_the_last_step_of_an_epoch_are_not_kept(toy: Any, tmp_path: Path) -> None:
    """The step after a NaN spoils the weights; the loss reported may still be finite."""
    run = Run(tmp_path / "run")

    def spoil(done: int, total: int, note: str = "") -> None:
        if done == 10:  # the last step of the second epoch
            with torch.no_grad():
                spoiled[0].networks["net"][1].weight[0, 0] = torch.inf

    spoiled: list[Any] = []
    toy_class = find_method("toy")
    original = toy_class.__init__

    def remember(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        spoiled.append(self)

    toy_class.__init__ = remember
    with pytest.raises(TrainingError, match=r"1.weight of network 'net' is not finite, in epoch 2"):
        train("toy", toy(), run.path, progress=spoil)
    assert run.load_state(run.resume_file)["epoch"] == 1
    assert run.epochs == [1]


def test_a_stop_is_one_line_and_status_1(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "toy", "--runs", str(tmp_path), "--nan-at", "7", "--split", "train[:200]"]
    monkeypatch.setattr(sys, "argv", ["repsim", *arguments, "--batch-size", "40"])
    monkeypatch.setattr(methods, "method_summary", lambda name: "A toy.")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("repsim: error: loss_b became nan at step 8, in epoch 2; ")
    assert "checkpoints/epoch-0001.pt" in line


def test_a_replacement_that_stops_leaves_nothing_but_the_run_it_was_to_replace(
    toy: Any, tmp_path: Path
) -> None:
    run = train("toy", toy(), tmp_path / "run")
    before = run.digest()
    with pytest.raises(TrainingError) as stop:
        train("toy", toy(nan_at=12), run.path, overwrite=True)
    assert "kept" not in str(stop.value)
    assert run.digest() == before
    assert run.epochs == []


# Presets and printed configurations


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load(method: str, preset: str) -> None:
    config = configure(method, read_preset(method, preset), preset)
    assert (FOLDER / f"{method}.{preset}.toml").read_text().startswith("# ")
    assert config.data == "digits" or preset != "tiny"


@pytest.mark.parametrize("method", method_names())
def test_the_papers_presets_leave_nothing_to_a_default_that_may_change(method: str) -> None:
    """All that the method itself sets, and the data, epochs and batch size of whoever trains."""
    preset = read_preset(method, "paper")
    fields = config_for(method, preset.get("network")).model_fields
    told = {"data", "split", "test", "epochs", "batch_size"}
    assert (set(fields) - set(TrainConfig.model_fields)) | told <= set(preset)


def test_no_preset_is_without_its_method() -> None:
    names = {path.name.split(".")[0] for path in FOLDER.iterdir()}
    assert names == set(method_names())
    with pytest.raises(UsageError, match="'gan' has no preset 'huge'; there is: paper, small"):
        read_preset("gan", "huge")


def test_the_options_of_any_run_come_before_those_of_the_method() -> None:
    from repsim.cli.train import train as group

    command = group.get_command(None, "mgan")  # type: ignore[arg-type]
    names = [parameter.name for parameter in command.params]
    assert names[:4] == ["name", "preset", "config_file", "print_config"]
    fields = list(config_for("mgan").model_fields)
    after = names[names.index(fields[0]) :]
    assert [name for name in after if name in fields] == fields
    others = {name for family in family_names() for name in settings_of_family(family)}
    assert set(after) <= {*fields, *others}  # of networks that --network may name instead


@pytest.mark.parametrize("method", method_names())
def test_the_tiny_preset_runs(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(mode_collapse, "_STEPS", 5)  # how well it counts is tested by itself
    train_before(method, configure(method, read_preset(method, "tiny"), "tiny"), tmp_path)
    assert run_command("train", method, "--preset", "tiny", "--runs", tmp_path) == 0
    assert Run(tmp_path / method).complete


def test_the_printed_configuration_is_toml_that_repeats_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    options = ("--preset", "tiny", "--save-every", "0,2", "--lr", "1e-5", "--ema", "0.5")
    assert run_command("train", "supervised", *options, "--runs", tmp_path, "--print-config") == 0
    printed = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.toml").write_text(printed)
    assert set(read_toml(tmp_path / "run.toml")) == set(config_for("supervised").model_fields)
    shared = ("--runs", tmp_path)
    assert run_command("train", "supervised", *options, *shared, "--name", "a") == 0
    config = ("--config", tmp_path / "run.toml")
    assert run_command("train", "supervised", *config, *shared, "--name", "b") == 0
    a, b = Run(tmp_path / "a"), Run(tmp_path / "b")
    assert a.config == b.config
    assert a.config.save_every == (0, 2)
    assert a.digest() == b.digest()


def test_options_go_before_the_file_and_the_file_before_the_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    (tmp_path / "own.toml").write_text("epochs = 7\nwidth = 9\n")
    own = ("--preset", "tiny", "--config", tmp_path / "own.toml", "--width", "5")
    assert run_command("train", "supervised", *own, "--print-config") == 0
    (tmp_path / "printed.toml").write_text(capsys.readouterr().out)
    values = read_toml(tmp_path / "printed.toml")
    assert (values["depth"], values["epochs"], values["width"]) == (10, 7, 5)


def test_toml_survives_any_text(tmp_path: Path) -> None:
    config = TrainConfig(data='a "b"\\\n\x7f\x01é#', save_every=(1, 2), ema=1e-7)
    (tmp_path / "a.toml").write_text(to_toml(config), encoding="utf-8")
    assert TrainConfig(**read_toml(tmp_path / "a.toml")) == config


# What generators make


@pytest.mark.parametrize(
    ("method", "values", "size"),
    [
        ("autoencoder", {"sheet": 16}, (4 * 34 - 2, 4 * 34 - 2)),  # images over reconstructions
        ("gan", {"sheet": 9, **FEW}, (3 * 34 - 2, 3 * 34 - 2)),  # a square
        ("mgan", {"sheet": 20, **FEW}, (2 * 34 - 2, 10 * 34 - 2)),  # a line for each generator
    ],
)
def test_sample_sheets_are_grids_and_deterministic(
    tmp_path: Path, method: str, values: dict[str, Any], size: tuple[int, int]
) -> None:
    small = {"width": 4, "batch_size": 40, "split": "train[:80]"}
    settings = {**small, "epochs": 2, "coverage": 0, **values}
    runs = [train(method, configured(method, **settings), tmp_path / name) for name in "ab"]
    sheets = [sorted((run.path / "samples").iterdir()) for run in runs]
    assert [path.name for path in sheets[0]] == ["epoch-0001.png", "epoch-0002.png"]
    for a, b in zip(*sheets, strict=True):
        assert a.read_bytes() == b.read_bytes()
    with Image.open(sheets[0][0]) as image:
        assert (image.size, image.mode) == (size, "L")
        assert np.asarray(image).std() > 1
    assert sheets[0][0].read_bytes() != sheets[0][1].read_bytes()
    if method != "autoencoder":
        assert 0.5 < column(runs[0], "alpha_real")[0] < 2  # undecided after two steps
    none = train(method, configured(method, **settings | {"sheet": 0}), tmp_path / "none")
    assert not (none.path / "samples").exists()
    assert none.digest() == runs[0].digest()


def test_classes_of_generated_images_are_counted_by_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mode_collapse, "_STEPS", 60)
    settings = {"width": 4, "batch_size": 100, "epochs": 1, "coverage": 20, "sheet": 0, **FEW}
    run = train("mgan", configured("mgan", **settings), tmp_path / "run")
    assert 1 <= column(run, "classes_seen")[0] <= 10
    for k in range(10):
        assert 1 <= column(run, f"classes_seen.generator{k}")[0] <= 10
    assert column(run, "classifier_accuracy")[0] > 0.5


# Logs


class Writer:
    """Stands in for TensorBoard's writer."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.folder, self.purge_step, self.scalars = folder, purge_step, []
        Writer.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_without_tensorboard_there_is_the_table_alone(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = train("toy", toy(), tmp_path / "run")
    assert {path.name for path in run.path.iterdir()} == {
        *("config.json", "checkpoint.pt", "metrics.csv")
    }
    assert len(column(run, "images_per_second")) == 4
    assert min(column(run, "images_per_second")) > 0


def test_tensorboard_is_told_the_table(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "made", [])
    with pytest.raises(Stop):
        train("toy", toy(), tmp_path / "run", progress=stop_at(12))
    run = train("toy", toy(), tmp_path / "run", resume=True)
    first, second = Writer.made
    assert Path(first.folder) == run.path / "tensorboard"
    assert (first.purge_step, second.purge_step) == (None, 3)
    for name in ("loss_a", "images_per_second"):
        told = [(v, s) for n, v, s in [*first.scalars, *second.scalars] if n == name]
        assert told == list(zip(column(run, name), range(1, 5), strict=True))


def test_tensorboard_itself_writes_event_files(toy: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = train("toy", toy(epochs=1), tmp_path / "run")
    assert next((run.path / "tensorboard").iterdir()).name.startswith("events.out")
