"""Captions of reproduced figures: how good the networks are that they show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_paper import COUNT, toy

from repsim.figures.panels.lines import Line, Lines
from repsim.figures.papers import find_paper
from repsim.figures.papers.engine.found import Found
from repsim.figures.papers.grigg2021.analyses import PROBES
from repsim.figures.papers.mao2022.analyses import CONTROLS, HEADS
from repsim.figures.papers.mao2022.runs import NAMES

PANEL = Lines("", "x", "y", [1], [Line("a", [1.0])])


class Results(dict[Any, Any]):
    """Results of three seeds by their analyses."""

    data, seeds = "mnist", range(3)
    splits = {"held_out": "test"}  # noqa: RUF012


def curve(*entries: Any) -> Any:
    return SimpleNamespace(entries=entries, networks=lambda: ["x"], of=lambda name: entries)


def layer(name: str, accuracy: float) -> Any:
    return SimpleNamespace(layer=name, accuracy=accuracy)


def test_similar_networks_are_as_good_as_probes_on_their_last_block() -> None:
    """Neither an earlier layer nor the head, but the last even one; the mean over seeds."""
    found = Results(
        {
            asked: [
                curve(layer("bg1.b0.even", 0.9), layer("bg4.b2.even", value), layer("head", 0.1))
                for value in (0.5, 0.6, base)
            ]
            for asked, base in zip(PROBES.values(), (0.7, 0.85, 0.4), strict=True)
        }
    )
    assert find_paper("grigg2021").quality(found) == (
        "How good the networks are: linear probes on the last block read 60.0 % (SimCLR), "
        "65.0 % (supervised), 50.0 % (untrained) on mnist test, mean of 3 seeds."
    )


def test_extractors_are_as_good_as_converged_heads_on_them() -> None:
    def heads(accuracy: float) -> list[Any]:
        solvers = {"sgd:mao2022": 0.1, "lbfgs": accuracy}
        entries = [SimpleNamespace(solver=k, accuracy=v) for k, v in solvers.items()]
        return [curve(*entries)] * 3

    accuracies = {
        asked: heads(0.9 + 0.01 * removed + 0.005 * (name == "classifier"))
        for (name, removed), asked in HEADS.items()
        if name in NAMES
    }
    found = Results({**accuracies, CONTROLS: heads(0.8)})
    assert find_paper("mao2022").quality(found) == (
        "How good the networks are: new heads by L-BFGS read 90.0 % (D, 0 removed), "
        "90.5 % (C, 0 removed), 94.0 % (D, 4 removed), 94.5 % (C, 4 removed), "
        "80.0 % (untrained) on mnist test, mean of 3 seeds."
    )


@pytest.mark.parametrize("networks", [True, False])
def test_every_caption_of_networks_ends_in_how_good_they_are(
    networks: bool, tmp_path: Path
) -> None:
    found = Found(toy(tmp_path, quality=lambda found: "They read 60 %."))
    figure = found.figure("Figure 1", "Something.", [PANEL], networks=networks)
    assert figure.caption == ("Something. They read 60 %." if networks else "Something.")


def test_a_caption_says_what_is_missing_to_tell(tmp_path: Path) -> None:
    found = Found(toy(tmp_path, quality=lambda found: str(found[COUNT])))
    caption = found.figure("Figure 1", "Something.", [PANEL]).caption
    assert caption.startswith("Something. How good the networks are is not known: it needs the ")
    assert caption.endswith("which was not made.")
    assert Found(toy(tmp_path)).figure("Figure 1", "Something.", [PANEL]).caption == "Something."
