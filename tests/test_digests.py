"""A store's records of its examples: digests of inputs, targets, order, files and sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xxhash
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset

import repsim
from repsim.activations import ImageLoader, ShuffledLoader
from repsim.activations.capture.arguments import arguments
from repsim.activations.capture.digests import input_digests
from repsim.activations.harvesting.provenance import data_provenance
from repsim.activations.harvesting.sampling import order_of, sampling_of
from repsim.activations.store.format import part_path
from repsim.data import ImageSet, Target, load
from repsim.data.preprocessing import Preprocessing
from repsim.errors import StoreError, UsageError

N = 10
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
NET = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def digests(batch: Any, model: nn.Module = NET) -> list[int]:
    given = arguments(model, batch)
    return [int(each) for each in input_digests(given, len(next(iter(given.values()))))]


# --- digests


def test_a_digest_is_what_the_documentation_defines() -> None:
    line = xxhash.xxh3_64_intdigest(b"\tfloat32\t3\n")
    expected = [xxhash.xxh3_64_intdigest(row.numpy().tobytes(), line) for row in X]
    assert digests(X) == expected


def test_a_digest_is_of_the_example_alone() -> None:
    assert digests(X[2:5]) == digests(X)[2:5]
    assert digests(X.T.contiguous().T) == digests(X)
    assert digests(X.numpy()) == digests(X) == digests((X, torch.zeros(N)))
    assert len(set(digests(X))) == N


def test_type_and_shape_belong_to_a_digest() -> None:
    zeros = torch.zeros(4, 6)
    kinds = [zeros, zeros.int(), zeros.half(), zeros.bfloat16(), zeros.view(4, 2, 3), zeros.bool()]
    assert len({digests(each)[0] for each in kinds}) == len(kinds)


class Named(nn.Module):
    def forward(self, x: Tensor, mask: Tensor, scale: Tensor | None = None) -> Tensor:
        return x * mask


def test_all_arguments_belong_to_a_digest_in_any_order() -> None:
    mask = torch.ones(N, 3)
    both = digests({"x": X, "mask": mask, "ids": list("abcdefghij")}, Named())
    assert digests({"mask": mask, "x": X}, Named()) == both
    changed = mask.clone()
    changed[4, 1] = 0
    others = digests({"x": X, "mask": changed}, Named())
    assert [a == b for a, b in zip(both, others, strict=True)] == [k != 4 for k in range(N)]
    scaled = digests({"x": X, "mask": mask, "scale": torch.tensor(2.0)}, Named())
    assert not set(scaled) & set(both)


def test_values_that_are_no_tensors_belong_to_a_digest() -> None:
    def of(**more: Any) -> list[int]:
        return input_digests({"x": X, **more}, N).tolist()

    assert of(scale=3.0) == of(scale=3.0) != of(scale=2.0)
    line = xxhash.xxh3_64_intdigest(b"scale\tfloat\t\n")
    before = xxhash.xxh3_64_intdigest(b"x\tfloat32\t3\n")
    for k, (digest, row) in enumerate(zip(of(scale=3.0), X, strict=True)):
        h = xxhash.xxh3_64_intdigest(b"3.0", line)
        assert digest == xxhash.xxh3_64_intdigest(row.numpy().tobytes(), h ^ before), k
    assert of(flag=True) != of(flag=1)
    texts = [f"text {k}" for k in range(N)]
    assert of(text=texts)[3] == of(text=texts[:3] + [texts[3]] + ["other"] * 6)[3]
    assert of(text=texts)[4] != of(text=texts[:4] + ["other"] * 6)[4]
    assert of(cache=object()) == of(cache=object())
    assert of(past=[{"key": X}]) == of(past=[{"key": X.clone()}]) != of(past=[{"key": X + 1}])


def test_labels_of_rows_are_no_input(tmp_path: Path) -> None:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.head(x)
            assert labels is not None
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    labels = torch.arange(N) % 2
    with repsim.harvest(
        Loss(), [{"x": X, "labels": labels}], tmp_path / "a.h5", examples=N
    ) as store:
        assert store.labels.tolist() == labels.tolist()
        assert store.inputs.tolist() == input_digests({"x": X}, N).tolist()


def test_a_store_has_the_digests_of_what_the_network_read(tmp_path: Path) -> None:
    digits = load("digits", "test[:20]")
    loader = ImageLoader(digits, 8, Preprocessing.parse("imagenet", size=(6, 9), channels=3))
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True))
    with repsim.harvest(net, loader, tmp_path / "a.h5") as store:
        every = torch.cat([images for images, _, _ in loader])
        assert store.inputs.tolist() == digests(every, net)
        assert store.provenance()["allowed"] == {"randomness": False, "batch": False}
    with repsim.harvest(net, loader, tmp_path / "b.h5", pooling="positions") as store:
        assert store.inputs.tolist() == [each for each in digests(every, net) for _ in range(4 * 7)]


def test_an_input_that_the_network_changes_is_digested_as_it_came(tmp_path: Path) -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.zero_())

    batches = list(X.clone().split(5))
    with repsim.harvest(Changes(), batches, tmp_path / "a.h5", examples=N, layers="head") as store:
        assert store.inputs.tolist()[5:] == digests(X)[5:]


def test_a_resumed_harvest_has_the_bytes_of_one_that_was_not_stopped(tmp_path: Path) -> None:
    digits = load("digits", "test[:20]", image_size=8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    class Stops(ImageLoader):
        def __iter__(self) -> Any:
            for k, batch in enumerate(super().__iter__()):
                if k == 2:
                    raise KeyboardInterrupt
                yield batch

    repsim.harvest(net, ImageLoader(digits, 5), tmp_path / "whole.h5").close()
    with pytest.raises(KeyboardInterrupt):
        repsim.harvest(net, Stops(digits, 5), tmp_path / "a.h5")
    assert part_path(tmp_path / "a.h5").is_file()
    repsim.harvest(net, ImageLoader(digits, 5), tmp_path / "a.h5", resume=True).close()
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_finished_store_of_version_2_is_left_as_it_is(tmp_path: Path) -> None:
    """It says nothing of sampling and sizes, which is no difference."""
    import h5py

    net = nn.Sequential(nn.Linear(3, 2))
    path = tmp_path / "a.h5"
    told = {"image_size": 32, "network": "a"}
    repsim.harvest(net, [X], path, examples=N, provenance=told).close()
    with h5py.File(path, "r+") as file:
        import json

        provenance = json.loads(file.attrs["provenance"])
        del provenance["allowed"], provenance["image_size"]
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        file.attrs["format_version"] = 2
    with repsim.harvest(net, [X], path, examples=N, provenance=told, resume=True) as store:
        assert (store.version, store.inputs, store.targets) == (2, None, ())
    with pytest.raises(StoreError, match="network differ"):
        repsim.harvest(net, [X], path, examples=N, provenance={"network": "b"}, resume=True)


# --- targets


def pairs() -> ImageSet:
    images = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8)
    left = Target("left", torch.arange(6) % 3, ("a", "b", "c"))
    kept = Target("kept", torch.eye(6, 2, dtype=torch.uint8), ("x", "y"))
    return ImageSet("pairs", "all", images, (left, kept), tuple("123456"))


def test_all_targets_of_a_set_are_stored(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with repsim.harvest(net, ImageLoader(pairs(), 4), tmp_path / "a.h5") as store:
        assert str(store.targets) == str(pairs().targets)
        assert store.targets[1].values.tolist() == torch.eye(6, 2).tolist()
        assert (store.target, store.labels.tolist()) == ("left", [0, 1, 2, 0, 1, 2])
        assert store.verify() == []
    chosen = ImageLoader(pairs().choose("kept"), 4)
    with repsim.harvest(net, chosen, tmp_path / "b.h5") as store:
        assert store.target == "kept"
    with repsim.open_store(tmp_path / "b.h5", target="left") as store:
        assert store.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_batches_may_have_several_targets(tmp_path: Path) -> None:
    labels = {"a": torch.arange(N), "b": torch.eye(N, 3)[:, :].long()}
    batches = [(X[k : k + 5], {n: v[k : k + 5] for n, v in labels.items()}) for k in (0, 5)]
    with repsim.harvest(NET, batches, tmp_path / "a.h5", examples=N) as store:
        assert [each.name for each in store.targets] == ["a", "b"]
    with repsim.harvest(NET, [(X, torch.eye(N, 4).long())], tmp_path / "b.h5", examples=N) as store:
        assert [(t.name, t.classes) for t in store.targets] == [("label", ("0", "1", "2", "3"))]
    later = [batches[0], (X[5:], {"a": torch.arange(5)})]
    with pytest.raises(UsageError, match="came with a, b of 3 columns and a later one with a"):
        repsim.harvest(NET, later, tmp_path / "c.h5", examples=N)


# --- order and sampling


def test_the_order_is_known_where_a_loader_gives_it(tmp_path: Path) -> None:
    data = TensorDataset(X, torch.arange(N))
    subset = Subset(data, [7, 3, 5])
    assert order_of(DataLoader(subset, batch_size=2), 3).tolist() == [7, 3, 5]
    assert order_of(DataLoader(data, sampler=[4, 2]), 2).tolist() == [4, 2]
    assert order_of(DataLoader(data, batch_size=2), N) is None
    assert order_of([X], N) is None
    shuffled = ShuffledLoader(load("digits", "test[:20]", image_size=8), batch_size=8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with repsim.harvest(net, shuffled, tmp_path / "a.h5") as store:
        assert sorted(store.order.tolist()) == list(range(20))
        ids = [shuffled.dataset.ids[k].encode() for k in store.order]
        assert store.example_ids.tolist() == ids


def test_samplers_other_than_the_sequential_ones_are_recorded(tmp_path: Path) -> None:
    data = TensorDataset(X, torch.arange(N), torch.arange(N))
    assert sampling_of(DataLoader(data, batch_size=2)) == sampling_of([X]) == {}
    random = DataLoader(data, sampler=SubsetRandomSampler(range(N)))
    assert sampling_of(random) == {"sampler": "SubsetRandomSampler"}
    with repsim.harvest(NET, random, tmp_path / "a.h5") as store:
        assert store.provenance()["sampling"] == {"sampler": "SubsetRandomSampler"}


# --- files and sizes


def test_provenance_has_files_and_sizes(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=np.zeros((5, 4, 6), np.uint8))
    record = data_provenance(load(tmp_path / "some.npz", "all", image_size="own"))
    size = (tmp_path / "some.npz").stat().st_size
    assert (record["image_size"], record["files"]["list"]) == ("4x6", [["some.npz", size]])
    assert data_provenance(load("digits", "test"))["image_size"] == 32
    assert "files" not in data_provenance(load("digits", "test"))


def test_a_loader_names_the_size_that_the_network_reads() -> None:
    digits = load("digits", "test[:9]")
    large = ImageLoader(digits, 4, Preprocessing(size=64))
    assert (large.size, large.slug) == ((64, 64), "digits-64x64-test.0-9")
    assert ImageLoader(digits, 4).slug == digits.slug == "digits-test.0-9"
