"""Configurations: coercion, bounds, TOML, and the identity by which results are found again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from repsim.configuration import (
    Config,
    build_config,
    read_toml,
    setting,
    settings_of,
    to_toml,
)
from repsim.errors import UsageError
from repsim.training.compose import config_for
from repsim.training.config import TrainConfig


@dataclass(frozen=True)
class Small(Config):
    kernel: str = setting("linear", "of the layers")
    count: int = setting(4, "of examples", ge=1, lt=100)
    shares: tuple[float, ...] = setting((1.0,), "of the labels", gt=0, le=1)
    mode: str | None = setting(None, "how", choices=("fast", "slow"))
    shown: str = setting("all", "in the table", decides=False)
    control: bool = setting(True, "with a control")


def test_values_from_text_get_their_types() -> None:
    built = build_config(Small, {"count": "7", "shares": "1, 0.1,1", "control": "false"}, "here")
    assert built == Small(count=7, shares=(1.0, 0.1), control=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernal": "rbf"}, "here: unknown key 'kernal'; did you mean 'kernel'"),
        ({"count": 0}, "here: count is 0; expected at least 1"),
        ({"count": 100}, "here: count is 100; expected below 100"),
        ({"shares": "1,0"}, "here: shares is 0.0; expected above 0"),
        ({"shares": [2]}, "here: shares is 2.0; expected at most 1"),
        ({"count": "many"}, "here: count = 'many'; input should be a valid integer"),
        ({"count": True}, "here: count = True; expected no truth value"),
        ({"mode": "fats"}, "here: mode is 'fats'; did you mean 'fast'"),
        ({"shares": "x"}, r"here: shares = .*; input should be a valid number"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build_config(Small, values, "here")
    assert "\n" not in str(caught.value)


def test_bounds_hold_without_the_boundary_too() -> None:
    with pytest.raises(UsageError, match="count is 0; expected at least 1"):
        Small(count=0)


def test_toml_gives_the_same_configuration(tmp_path: Path) -> None:
    config = Small(shares=(0.5, 1.0), kernel='a "b"\x7f', control=False)
    (tmp_path / "small.toml").write_text(to_toml(config), encoding="utf-8")
    assert build_config(Small, read_toml(tmp_path / "small.toml"), "file") == config
    assert "# of examples" in to_toml(config)


def test_one_function_reads_settings_of_both_kinds() -> None:
    small = {each.name: each for each in settings_of(Small)}
    assert small["mode"].choices == ("fast", "slow")
    assert small["shares"].annotation == tuple[float, ...]
    trained = {each.name: each for each in settings_of(config_for("simclr"))}
    assert trained["depth"].choices == (10, 14, 18, 26, 34, 50)
    assert trained["epochs"].default == 30
    assert trained["epochs"].description == "passes over the training part"


# Identity


def test_the_identity_has_all_settings_that_decide() -> None:
    expected = {"kernel": "linear", "count": 4, "shares": [1.0], "mode": None, "control": True}
    assert Small().identity() == expected


def test_a_setting_that_was_added_is_left_out_while_nothing_changes() -> None:
    @dataclass(frozen=True)
    class Later(Small):
        ridge: float = setting(0.1, "added in a later release", before=0.0)

    assert Later(ridge=0.0).identity() == Small().identity()
    assert Later().identity() == {**Small().identity(), "ridge": 0.1}


def test_a_default_that_changes_changes_the_identity() -> None:
    @dataclass(frozen=True)
    class Changed(Small):
        count: int = setting(5, "of examples")

    assert Changed().identity() != Small().identity()


def test_the_identity_of_a_training_follows_the_same_rules() -> None:
    class Later(TrainConfig):
        jitter: float = Field(0.0, json_schema_extra={"before": 0.0})

    class Changed(TrainConfig):
        epochs: int = 11

    before = TrainConfig().identity()
    assert Later().identity() == before
    assert Later(jitter=0.5).identity() == {**before, "jitter": 0.5}
    assert Changed().identity() != before
    assert TrainConfig(device="cpu", workers=0, save_every=(0, 1)).identity() == before
    assert TrainConfig(precision="bf16-mixed").identity() != before
