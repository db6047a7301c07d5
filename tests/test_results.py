"""Results of every kind: files that last, files that are refused, tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_results import ENTRIES, curve, report, same, similarity, tables

from repsim.errors import StoreError, UsageError
from repsim.results import FORMAT_VERSION, Examples, ProbeCurve, Result, SimilarityMap


def every(rng: np.random.Generator) -> list[Result]:
    return [
        similarity(rng),
        similarity(rng, biased=None),
        similarity(rng, **tables(rng)),
        curve("simclr", [0.1, 1 / 3]),
        report(),
        report(claims=[], examples=Examples(), alpha=[], singular_values=[], entries=ENTRIES[-1:]),
    ]


# --- files


@pytest.mark.parametrize("k", range(6))
def test_what_is_saved_is_what_is_loaded(k: int, rng: np.random.Generator, tmp_path: Path) -> None:
    result = every(rng)[k]
    written = result.save(tmp_path / "deep" / "result.json")
    assert [path.name for path in written] == ["result.json", "result.csv"]
    assert same(Result.load(written[0]), result)
    assert same(type(result).load(str(written[0])), result)


def test_a_file_is_plain_json_without_nan(rng: np.random.Generator, tmp_path: Path) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["format"] == "repsim-result"
    assert content["format_version"] == FORMAT_VERSION
    assert content["kind"] == "similarity-map"
    assert content["unbiased"][1][0] is None


def test_provenance_may_hold_arrays_and_numpy_numbers(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    provenance = {"seed": np.int64(3), "shape": (2, 3), "mean": np.arange(2.0), 5: np.float32(0.5)}
    path, _ = similarity(rng, provenance=provenance).save(tmp_path / "map.json")
    expected = {"seed": 3, "shape": [2, 3], "mean": [0.0, 1.0], "5": 0.5}
    assert SimilarityMap.load(path).provenance == expected


@pytest.mark.parametrize("existing", ["result.json", "result.csv"])
def test_existing_files_stay_unless_told_otherwise(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(UsageError, match=f"{existing} exists already; .* --overwrite"):
        report().save(tmp_path / "result.json")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"
    report().save(tmp_path / "result.json", overwrite=True)
    assert same(Result.load(tmp_path / "result.json"), report())


def test_the_table_cannot_take_the_place_of_the_result(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the name of the table; give the result a .json name"):
        report().save(tmp_path / "result.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a repsim result, or cut short"),
        ('{"format": "repsim-result", "kind', "is not a repsim result, or cut short"),
        ("\x00\xff", "is not a repsim result"),
        ("[1, 2]", "is not a repsim result$"),
        ('{"kind": "similarity-map"}', "is not a repsim result$"),
        ('{"format": "repsim-result", "format_version": 1}', "unknown kind of result None"),
        ('{"format": "repsim-result", "kind": "heat"}', "unknown kind of result 'heat'"),
        (
            '{"format": "repsim-result", "kind": "probe-curve"}',
            r"not a whole probe-curve \(it has no 'solver'",
        ),
        (
            f'{{"format": "repsim-result", "format_version": {FORMAT_VERSION + 1}}}',
            f"has format version {FORMAT_VERSION + 1}; .* a newer repsim will read it",
        ),
    ],
)
def test_a_file_that_is_no_result_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=message):
        Result.load(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, _ = report().save(tmp_path / "result.json")
    whole = path.read_text()
    for length in range(0, len(whole.rstrip()), 7):
        path.write_text(whole[:length])
        with pytest.raises(StoreError, match="cut short"):
            Result.load(path)


def test_absent_files_folders_and_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no result .*absent.json"):
        Result.load(tmp_path / "absent.json")
    with pytest.raises(StoreError, match="is not a repsim result"):
        Result.load(tmp_path)
    path, _ = report().save(tmp_path / "result.json")
    with pytest.raises(StoreError, match="holds a null-space-report; expected a probe-curve"):
        ProbeCurve.load(path)


def test_engine_results_survive_a_file(rng: np.random.Generator, tmp_path: Path) -> None:
    from repsim import MinibatchCKA, cka_map, null_space

    x = rng.normal(size=(20, 5))
    engine = MinibatchCKA(["x"], ["x"])
    engine.update({"x": x}, {"x": x})
    results = [
        cka_map({"x": x, "nan": x * np.nan}, kernel="rbf"),
        cka_map({"x": x}, {"y": x[:, :2]}, permutations=9),
        engine.compute(),
        null_space(torch.tensor(x), np.zeros((2, 5)), labels=np.arange(20) % 2),
    ]
    for k, result in enumerate(results):
        assert same(Result.load(result.save(tmp_path / f"{k}.json")[0]), result)


# --- tables


def test_dataframes_have_the_rows_of_the_table(rng: np.random.Generator) -> None:
    pytest.importorskip("pandas")
    for result in every(rng):
        frame = result.to_dataframe()
        assert len(frame) == len(result.rows())
        assert list(frame.columns) == list(result.rows()[0])
