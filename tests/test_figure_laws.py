"""Laws of every figure: text that does not meet, legends that are whole, names that are drawn."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from drawn import faults, legends_of, shown_texts
from driving import run_command
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sample_results import probed

from repsim import figures
from repsim.errors import RepsimWarning, UsageError
from repsim.figures import fonts
from repsim.figures.layer_labels import labelled_spans, line_height, spans
from repsim.figures.style import styled
from repsim.results import ProbeCurve, Result, SimilarityMap
from repsim.results.images import images_of

STORED = sorted((Path(__file__).parent / "results").glob("*.json"))
BLOCKS = ("attention.o_proj", "mlp.fc2", "layernorm_after")
TRANSFORMER = (
    "embeddings.dropout",
    *(f"layers.{k}.{part}" for k in range(12) for part in BLOCKS),
    "layernorm",
)
CONVOLUTIONAL = (
    *(f"features.{k}.{part}" for k in range(3) for part in ("conv1", "bn1", "conv2")),
    *("pool", "flatten", "fc"),
)
IMAGES = {"data": "/home/me/photos", "split": "test"}


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def similarity(
    rows: tuple[str, ...] = TRANSFORMER, columns: tuple[str, ...] = CONVOLUTIONAL, **changes: Any
) -> SimilarityMap:
    values = np.random.default_rng(0).uniform(0, 1, (len(rows), len(columns)))
    made = {
        "unbiased": values,
        "biased": values,
        "n": 200,
        "name_a": "my_vit",
        "name_b": "my_cnn",
        "kernel": "linear",
    }
    provenance = {"a": IMAGES, "b": IMAGES}
    return SimilarityMap(rows, columns, **{**made, "provenance": provenance, **changes})


def curve(*networks: str, layers: tuple[str, ...] = CONVOLUTIONAL) -> ProbeCurve:
    entries = [
        probed(name, layer, k, 0.1 + k / 100) for name in networks for k, layer in enumerate(layers)
    ]
    return ProbeCurve(entries, 10, n_train=8, n_test=2, solver="lbfgs")


def legend_texts(figure: Figure) -> set[str]:
    return {text.get_text() for legend in legends_of(figure) for text in legend.get_texts()}


def drawn_labels(figure: Figure) -> set[str]:
    """Labels of lines, areas and bars."""
    artists = [each for ax in figure.axes for each in (*ax.lines, *ax.patches, *ax.containers)]
    labels = {str(each.get_label()) for each in artists}
    return {label for label in labels if label and not label.startswith("_")}


@pytest.mark.parametrize("path", STORED, ids=[path.stem for path in STORED])
@pytest.mark.parametrize("style", ["column", "page"])
def test_text_of_stored_results_does_not_meet_and_legends_are_whole(path: Path, style: str) -> None:
    for figure in figures.draw(Result.load(path), style=style).values():
        assert faults(figure) == []
        assert drawn_labels(figure) <= legend_texts(figure)


@pytest.mark.parametrize(
    "style", ["column", figures.Style("column", width=3.0, font="serif", size=8), "page", "slide"]
)
@pytest.mark.parametrize(
    "sides",
    [
        (TRANSFORMER, CONVOLUTIONAL),
        (CONVOLUTIONAL, TRANSFORMER),
        (TRANSFORMER, TRANSFORMER),
        (TRANSFORMER, CONVOLUTIONAL[:2]),
        (CONVOLUTIONAL[:1], TRANSFORMER[:1]),
        (tuple(f"layers.{k // 3}.part_{k % 3}" for k in range(100)), CONVOLUTIONAL[:6]),
    ],
    ids=["tall", "wide", "square", "narrow", "one", "many"],
)
def test_text_of_maps_of_any_networks_does_not_meet(sides: Any, style: Any) -> None:
    for figure in figures.draw(similarity(*sides), style=style).values():
        assert faults(figure) == []


@pytest.mark.parametrize("style", ["column", "page", "slide"])
def test_a_figure_is_as_empty_on_the_left_as_on_the_right(style: str) -> None:
    for figure in figures.draw(similarity(), style=style).values():
        boxes = [ax.get_tightbbox() for ax in figure.axes]
        left = min(box.x0 for box in boxes if box)
        right = figure.bbox.x1 - max(box.x1 for box in boxes if box)
        assert abs(left - right) < 2


@pytest.mark.parametrize("inches", [0.2, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("layers", [TRANSFORMER, CONVOLUTIONAL, TRANSFORMER[:2], ("fc",)])
def test_labels_of_layers_stay_beside_their_axis(layers: tuple[str, ...], inches: float) -> None:
    """Beyond its ends lie the labels of the other axis, as far away as these, and the title."""
    with styled("slide"):
        found = [place for place, _ in labelled_spans(layers, inches)]
        half = line_height() / 2 - mpl.rcParams["ytick.major.pad"] / 72
    if len(found) > 1:
        assert (found[0] + 0.5) * inches / len(layers) >= half - 1e-9
        assert (len(layers) - 0.5 - found[-1]) * inches / len(layers) >= half - 1e-9
    else:
        assert found == [(len(layers) - 1) / 2]


def test_long_names_of_layers_and_classes_have_room() -> None:
    names = tuple(f"{k}.self_attention.query_key_value.lora_A.default_adapter" for k in range(9))
    assert faults(figures.heatmap(similarity(names, names[:3]))) == []
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
    dots = figures.Dots("real", [0.5] * 9, places=list(range(9)))
    data = figures.FigureData("s", "", [figures.Strips("", "class", "share", classes, [dots])])
    assert faults(figures.panels(data, style="column")) == []


# --- names


def test_images_are_named_in_the_figure_and_its_caption() -> None:
    assert (
        images_of({"a": IMAGES, "b": IMAGES, "train": {"data": "x", "split": "y"}}) == "photos test"
    )
    assert images_of({}) == ""
    result = similarity()
    assert figures.heatmap(result).axes[0].get_title() == "photos test, n = 200"
    assert figures.similarity_curves(result).get_suptitle() == "photos test, n = 200"
    titled = figures.heatmaps([result, result], titles=["one", "other"])
    assert titled.get_suptitle() == "photos test, n = 200"
    for data in figures.figures_of(result).values():
        assert "photos test, n = 200" in data.caption


def test_a_heading_comes_back_from_a_file(tmp_path: Path) -> None:
    data = figures.figures_of(similarity())["curves"]
    path, _ = data.save(tmp_path / "curves.json")
    assert figures.FigureData.load(path).heading == data.heading == "photos test, n = 200"
    earlier = json.loads(path.read_text())
    del earlier["heading"]
    path.write_text(json.dumps(earlier))
    assert figures.FigureData.load(path).heading is None


def test_a_new_name_of_layers_changes_no_sentence_and_one_of_a_network_no_layer() -> None:
    rows = ("vit.embed", "vit.layers.0.a", "vit.layers.0.b", "vit.layers.1.a", "vit.norm")
    found = similarity(rows, ("layer.0", "layer.1"), name_a="vit", name_b="cnn")
    names = {"vit": "ViT-S", "layer": "block", "vit.layers": "stage"}
    drawn = figures.draw(found, names=names)
    ax = drawn["heatmap"].axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("cnn layer in block", "ViT-S layer")
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown == ["vit.embed", "stage.0.a", "stage.0.b", "stage.1.a", "vit.norm"]
    curves = drawn["curves"]
    assert curves.data.caption.startswith("CKA (unbiased) over the layers of ViT-S")  # type: ignore[attr-defined]
    assert legend_texts(curves) == {"most similar cnn layer"}


def test_groups_of_one_name_with_others_between_have_further_levels() -> None:
    stages = [f"stage.{k}.{part}" for k in (0, 1) for part in "ab"]
    found = spans(["swin.embed.a", "swin.embed.b", *stages, "swin.norm"])
    assert [each.first for each in found] == ["swin.embed", "stage.0", "stage.1", "swin.norm"]


def test_networks_and_layers_have_the_names_that_were_asked_for() -> None:
    names = {
        "my_cnn": "CNN",
        "features": "conv",
        "layers.*.mlp.fc2": "mlp *",
        "layers": "block",
        "fc": "head",
    }
    drawn = figures.draw(similarity(), names=names)
    ax = drawn["heatmap"].axes[0]
    rows = [each.get_text() for each in ax.get_yticklabels()]
    columns = [each.get_text() for each in ax.get_xticklabels()]
    assert rows[1:4] == ["block.0.attention.o_proj", "mlp 0", "block.0.layernorm_after"]
    assert columns[0] == "conv.0.conv1"
    assert columns[-1] == "head"
    assert ax.get_xlabel() == "CNN layer"
    assert legend_texts(drawn["curves"]) == {"most similar CNN layer"}
    with pytest.raises(UsageError, match="no figure has a network or layer 'my_cnm'; did you mean"):
        figures.draw(similarity(), names={"my_cnm": "CNN"})
    used: set[str] = set()
    figures.draw(similarity(), names={"my_cnm": "CNN", "my_cnn": "CNN"}, used=used)
    assert used == {"my_cnn"}


def test_an_untrained_network_stays_a_control_under_another_name() -> None:
    figure = figures.draw(curve("simclr", "untrained"), names={"untrained": "random"})["curves"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["random"].get_linestyle() == "--"


# --- text as it is


@pytest.mark.parametrize(
    "name", ["a_b_c", "$x$", "50$ & $60", r"\foo{1}", "_mine", "{x}^2", "a%b#c"]
)
def test_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    layers = (f"{name}.0", f"{name}.1", "head")
    with mpl.rc_context({"text.usetex": True}):  # a setting that breaks such names
        drawn = figures.draw(similarity(layers, layers, name_b=name))
    ax = drawn["heatmap"].axes[0]
    assert [each.get_text() for each in ax.get_yticklabels()] == list(layers)
    assert ax.get_xlabel() == f"{name} layer"
    assert legend_texts(drawn["heatmap"]) == {f"most similar {name} layer"}
    assert not any(
        text.get_parse_math() or text.get_usetex() for text in shown_texts(drawn["heatmap"])
    )
    assert figures.save(drawn["heatmap"], tmp_path / "map")


def test_right_to_left_text_is_drawn_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert faults(figures.heatmap(similarity(name_b="שלום مرحبا"))) == []


def test_characters_of_no_font_are_named_in_one_line(tmp_path: Path) -> None:
    fonts._warn.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        drawn = figures.draw(similarity(name_b="\U000e0fff 網 \U000e0fff"))
        figures.save(drawn["heatmap"], tmp_path / "map")
    (one,) = {str(each.message) for each in said}
    assert issubclass(said[0].category, RepsimWarning)
    assert one.startswith("no font on this machine has ")
    assert "\U000e0fff" in one
    assert "\n" not in one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("網络", ["Noto Sans CJK"]),
        ("ネットワーク", ["Noto Sans CJK"]),
        ("신경망", ["Noto Sans CJK"]),
        ("เครือข่าย", ["Noto Sans Thai"]),
        ("जाल网", ["Noto Sans CJK", "Noto Sans Devanagari"]),
        ("\N{SPOUTING WHALE}", ["Noto Emoji"]),
        ("\U000e0fff", ["a font that has them"]),
    ],
)
def test_the_font_that_would_have_the_characters_is_named(text: str, expected: list[str]) -> None:
    assert fonts._fonts_with(sorted(set(text))) == expected


def test_another_font_serves_characters_that_the_first_lacks() -> None:
    with mpl.rc_context({"font.family": ["cmr10"]}):
        families, missing = fonts._families_for("ж")
    assert families[0] == "cmr10"
    assert len(families) == 2
    assert missing == []


# --- sizes, fonts, files


def test_a_style_has_the_width_and_the_font_that_were_asked_for() -> None:
    style = figures.Style("column", width=4.2, font="DejaVu Serif", size=9)
    figure = figures.heatmap(similarity(), style=style)
    assert figure.get_figwidth() == 4.2
    label = figure.axes[0].xaxis.label
    assert label.get_size() == 9
    assert label.get_fontname() == "DejaVu Serif"
    with pytest.raises(UsageError, match="no font 'Dejavu Serif' on this machine; did you mean"):
        figures.Style(font="Dejavu Serif")
    with pytest.raises(UsageError, match="a width of 90 inches arrived; expected 1 to 40"):
        figures.Style(width=90)
    with pytest.raises(UsageError, match="a font of 1 points arrived; expected 3 to 72"):
        figures.Style(size=1)


def test_colours_have_the_ends_that_were_asked_for_and_say_what_lies_beyond() -> None:
    image, bar = figures.heatmap(similarity(), limits=(0.25, 0.75)).axes
    assert image.images[0].get_clim() == (0.25, 0.75)
    assert bar._colorbar.extend == "both"  # type: ignore[attr-defined]
    assert figures.heatmap(similarity()).axes[1]._colorbar.extend == "neither"  # type: ignore[attr-defined]
    below = similarity(unbiased=similarity().unbiased - 0.5)
    assert figures.heatmap(below).axes[1]._colorbar.extend == "min"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="limits of colours arrived for figures without colours"):
        figures.draw(curve("a"), limits=(0.2, 0.9))
    with pytest.raises(UsageError, match="two rising numbers"):
        figures.heatmap(similarity(), limits=(1.0, 0.0))


def test_a_figure_is_drawn_on_axes_of_a_figure_that_there_is() -> None:
    mine, (left, right) = plt.subplots(1, 2, figsize=(9, 5), layout="constrained")
    assert figures.heatmap(similarity(), ax=left) is mine
    assert figures.probe_curves(curve("a", "b"), ax=right) is mine
    assert left.images[0].get_array().shape == (38, 12)
    assert {"a", "b", "chance"} == {text.get_text() for text in right.get_legend().get_texts()}
    assert left.get_title() == "photos test, n = 200"
    assert len(mine.axes) == 3  # with the bar of colours
    assert faults(mine) == []
    with pytest.raises(UsageError, match="1 axes arrived for 2 panels; expected one each"):
        figures.heatmaps([similarity()] * 2, ax=[left])


def test_figures_are_written_in_the_formats_that_were_asked_for(tmp_path: Path) -> None:
    paths = figures.save(figures.heatmap(similarity()), tmp_path / "map", formats=("svg", "pdf"))
    assert [path.name for path in paths] == ["map.svg", "map.pdf", "map.txt"]
    again = figures.save(figures.heatmap(similarity()), tmp_path / "again", formats=("svg",))
    assert again[0].read_bytes() == paths[0].read_bytes()
    with pytest.raises(UsageError, match="figures have no format 'jpg'; "):
        figures.save(figures.heatmap(similarity()), tmp_path / "map", formats=("jpg",))


# --- nothing hidden


def test_a_line_that_another_covers_is_wider() -> None:
    values = [10.0, 20.0, 30.0]
    lines = [
        figures.Line("under", values),
        figures.Line("apart", [30.0, 20.0, 10.0]),
        figures.Line("over", [10.2, 20.0, 30.0]),
    ]
    data = figures.FigureData("f", "", [figures.Lines("", "x", "y", [1, 2, 3], lines)])
    drawn = {line.get_label(): line for line in figures.panels(data).axes[0].lines}
    assert drawn["under"].get_linewidth() > drawn["over"].get_linewidth() + 1.5
    assert drawn["under"].get_markersize() > drawn["over"].get_markersize() + 1.5
    assert drawn["apart"].get_linewidth() == drawn["over"].get_linewidth()


def test_many_lines_that_lie_on_each_other_stay_lines() -> None:
    """Each is wider than the next, and the lowest no bar."""
    lines = [figures.Line(str(k), [10.0, 20.0, 30.0 + 0.01 * k]) for k in range(6)]
    data = figures.FigureData("f", "", [figures.Lines("", "x", "y", [1, 2, 3], lines)])
    widths = [line.get_linewidth() for line in figures.panels(data).axes[0].lines]
    assert sorted(widths, reverse=True) == widths
    assert len(set(widths)) == 6
    assert widths[0] <= widths[-1] + 3


def test_values_beyond_the_axis_widen_it() -> None:
    panel = figures.Lines("", "x", "y", [1, 2], [figures.Line("a", [0.5, 3.0])], ylim=(0, 1))
    figure = figures.panels(figures.FigureData("f", "", [panel]))
    assert figure.axes[0].get_ylim() == (0, 3)


def test_marks_of_a_histogram_are_named_and_lie_above_its_bins() -> None:
    values = {"real": np.linspace(0, 1, 50), "generated": np.linspace(0, 2, 50)}
    ticks = {"real": [0.25, 0.75], "generated": [1.0]}
    panel = figures.Histogram.of("", "score", values, bins=5, ticks=ticks)
    figure = figures.panels(figures.FigureData("f", "", [panel]), style="column")
    assert legend_texts(figure) == {"real", "generated", "medians of classes"}
    (ax,) = figure.axes
    top = max(max(group.values) for group in panel.groups) / ax.get_ylim()[1]
    heights = [line.get_ydata()[0] for line in ax.lines]
    assert len(set(heights)) == 2
    assert top < min(heights) < max(heights) < 1


def test_one_epoch_is_a_whole_number_and_counts_of_batches_are_no_quantity() -> None:
    rows = [{"epoch": 1.0, "loss": 0.5, "alpha_real": 2.0, "alpha_batches": 100.0}]
    figure = figures.training_curves(rows)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "α"]
    for ax in figure.axes:
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1.0]


def test_many_behind_the_others_have_one_entry() -> None:
    lines = [figures.Line(f"g{k}", [k, k], look="faint", group="each generator") for k in range(3)]
    panel = figures.Lines("", "x", "y", [1, 2], [*lines, figures.Line("all", [1.0, 2.0])])
    figure = figures.panels(figures.FigureData("f", "", [panel]))
    assert legend_texts(figure) == {"each generator", "all"}


# --- the command


def test_a_figure_for_a_column_in_one_command(tmp_path: Path) -> None:
    path, _ = similarity().save(tmp_path / "cka.json")
    options = [
        *("--width", "8.4cm", "--font", "serif 8", "--format", "pdf,svg", "--limits", "0.1,0.9"),
        *("--rename", "my_cnn=CNN", "--rename", "features=conv"),
    ]
    assert run_command("figure", path, *options, "-o", tmp_path / "paper") == 0
    ends = ("pdf", "svg", "txt")
    names = {f"paper-{kind}.{end}" for kind in ("heatmap", "curves") for end in ends}
    assert names == {each.name for each in tmp_path.glob("paper*")}
    assert "CKA of my_vit and CNN layers" in (tmp_path / "paper-heatmap.txt").read_text()


def test_a_caption_has_the_names_of_a_figure_that_is_drawn_from_its_own_file(
    tmp_path: Path,
) -> None:
    panel = figures.Lines("", "x", "y", [1, 2], [figures.Line("my_cnn", [0.5, 0.7])])
    path, _ = figures.FigureData("Figure 1", "Of my_cnn.", [panel]).save(tmp_path / "figure.json")
    options = ("--rename", "my_cnn=CNN", "-o", tmp_path / "paper")
    assert run_command("figure", path, *options) == 0
    assert (tmp_path / "paper.txt").read_text().startswith("Figure 1. Of CNN.")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--width", "8.4 feet", "is no width from 1 to 40 inches; try 3.3 or 8.4cm"),
        ("--width", "99in", "is no width"),
        ("--font", "", "is no font; try serif"),
        ("--format", "jpg", "is none of png, pdf and svg"),
        ("--rename", "my_cnn", "is no renaming; try my_cnn=CNN"),
        ("--limits", "1,0", "is not two rising numbers; try 0.2,0.9"),
    ],
)
def test_options_that_cannot_be_are_refused(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("figure", "none.json", option, value) == 2
    assert message in " ".join(capsys.readouterr().err.split())
