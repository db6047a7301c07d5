"""Probe curves: joined, taken apart by network, and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_results import curve

from repsim.errors import MismatchError
from repsim.results import ProbeCurve


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


def test_the_table_of_a_curve_is_its_entries_with_a_column_a_class(tmp_path: Path) -> None:
    _, path = curve("a", [0.25, 0.5]).save(tmp_path / "curve.json")
    head, first, second = path.read_text().splitlines()
    assert head.startswith("network,layer,depth,features,solver,component,label_fraction,labels,")
    assert head.endswith(",accuracy,low,high,train_accuracy,l2,converged,class_0,class_1")
    assert first == "a,l0,0,8,lbfgs,full,1.0,true,0,80,0.25,0.125,1.0,,,True,0.25,nan"
    assert second.startswith("a,l1,1,8,lbfgs,")
