"""The store: what is written is read, and nothing broken is read as whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import repsim
from repsim.activations.store.format import part_path
from repsim.errors import MismatchError, NonFiniteError, StoreError, UsageError
from repsim.networks import ResNet

N = 50
IMAGES = torch.randn(N, 1, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N) % 10


def network(seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    model = ResNet(1, 10, 4)
    model.head = nn.Linear(model.feature_dim, 10)
    return model.eval()


def loader(batch_size: int = 16, n: int = N) -> DataLoader:
    return DataLoader(TensorDataset(IMAGES[:n], LABELS[:n]), batch_size)


@pytest.fixture
def store(tmp_path: Path) -> repsim.ActivationStore:
    return repsim.harvest(network(), loader(), tmp_path / "a.h5", provenance={"made": "here"})


def test_what_is_stored_is_what_the_network_gave(store: repsim.ActivationStore) -> None:
    model = network()
    with torch.inference_mode():
        pooled = torch.cat([model.pooled(_through(model, x)) for x in IMAGES.split(16)])
    np.testing.assert_array_equal(store["pooled"][:], pooled.numpy())
    assert store["stem"].shape == (N, 4, 32, 32)
    assert store.layers == tuple(model.layer_names())
    assert store.n == N
    np.testing.assert_array_equal(store.labels, LABELS)
    assert [each.decode() for each in store.example_ids[:2]] == ["0", "1"]
    assert store.provenance()["made"] == "here"


def _through(model: ResNet, x: torch.Tensor) -> torch.Tensor:
    x = model.stem(x.contiguous(memory_format=torch.channels_last))
    for group in model.groups:
        x = model.get_submodule(group)(x)
    return x


def test_a_linear_head_is_stored_with_the_layer_that_feeds_it(
    store: repsim.ActivationStore,
) -> None:
    head = store.heads["head"]
    np.testing.assert_array_equal(head["weight"], network().head.weight.detach().numpy())
    assert head["input"] == "pooled"
    logits = store["pooled"][:] @ head["weight"].T + head["bias"]
    np.testing.assert_allclose(logits, store["head"][:], atol=1e-5)


def test_plain_h5py_reads_it(store: repsim.ActivationStore) -> None:
    store.close()
    with h5py.File(store.path) as file:
        assert file.attrs["format"] == "repsim-activations"
        assert bool(file.attrs["complete"])
        assert file["layers/bg1.b0.odd"].attrs["axes"] == "example,channel,height,width"
        assert file["progress"][()] == N


def test_the_engine_reads_a_store_as_it_reads_arrays(store: repsim.ActivationStore) -> None:
    arrays = {layer: store[layer][:] for layer in store.layers}
    from_store, from_arrays = repsim.cka_map(store), repsim.cka_map(arrays)
    np.testing.assert_array_equal(from_store.unbiased, from_arrays.unbiased)


def test_averages_are_the_means_of_what_is_stored_in_full(
    store: repsim.ActivationStore, tmp_path: Path
) -> None:
    small = repsim.harvest(network(), loader(), tmp_path / "avg.h5", pooling="avg")
    assert small["stem"].shape == (N, 4)
    np.testing.assert_allclose(small["stem"][:], store["stem"][:].mean((2, 3)), atol=1e-6)


def test_other_examples_are_refused(store: repsim.ActivationStore, tmp_path: Path) -> None:
    fewer = repsim.harvest(network(), loader(n=40), tmp_path / "b.h5")
    with pytest.raises(MismatchError, match=r"a has 50 examples, b has 40"):
        repsim.cka_map(store, fewer)
    batches = [(IMAGES, LABELS, [f"other/{i}" for i in range(N)])]
    other = repsim.harvest(network(), batches, tmp_path / "c.h5", examples=N)
    with pytest.raises(MismatchError, match="differ in 50 of 50 example ids.*0 against other/0"):
        repsim.cka_map(store, other)


def test_whole_maps_are_not_compared_with_averages(
    store: repsim.ActivationStore, tmp_path: Path
) -> None:
    small = repsim.harvest(network(), loader(), tmp_path / "avg.h5", pooling="avg")
    with pytest.raises(
        MismatchError, match="a was harvested with pooling none, avg with pooling avg"
    ):
        repsim.cka_map(store, small)
    assert repsim.cka_map(small).pooled == ", averaged maps"
    assert repsim.cka_map(store, layers_a="odd").pooled == ""


def test_an_existing_store_stays(store: repsim.ActivationStore) -> None:
    before = store.path.read_bytes()
    with pytest.raises(UsageError, match="exists already.*--overwrite"):
        repsim.harvest(network(), loader(), store.path)
    assert store.path.read_bytes() == before
    store.close()
    repsim.harvest(network(1), loader(), store.path, overwrite=True).close()
    assert store.path.read_bytes() != before


def test_resuming_leaves_a_finished_store_alone_if_it_is_the_same(
    store: repsim.ActivationStore,
) -> None:
    before = store.path.read_bytes()
    same = {"provenance": {"made": "here"}, "resume": True}
    assert repsim.harvest(network(), loader(), store.path, **same).n == N
    assert store.path.read_bytes() == before
    differs = r"another harvest: made differ \(made was here, now there\); pass --overwrite"
    with pytest.raises(StoreError, match=differs):
        repsim.harvest(network(), loader(), store.path, provenance={"made": "there"}, resume=True)
    with pytest.raises(StoreError, match="another harvest: layers differ"):
        repsim.harvest(network(), loader(), store.path, layers="odd", **same)


def test_a_shuffling_loader_without_ids_is_refused(tmp_path: Path) -> None:
    shuffled = DataLoader(TensorDataset(IMAGES), 16, shuffle=True)
    with pytest.raises(UsageError, match="shuffles"):
        repsim.harvest(network(), shuffled, tmp_path / "a.h5")
    with pytest.raises(UsageError, match="pass examples=N"):
        repsim.harvest(network(), [IMAGES], tmp_path / "a.h5")


def test_nan_activations_stop_the_harvest_and_name_the_layer(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="layer 'head' gives NaN"):
        repsim.harvest(model, loader(), tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
    kept = repsim.harvest(model, loader(), tmp_path / "a.h5", layers="bg*", overwrite=True)
    assert "head" not in kept.layers


def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StoreError, match="MB free, the store needs"):
        repsim.harvest(network(), loader(), tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


class Interrupted(KeyboardInterrupt):
    """Stops a harvest, as Ctrl-C does."""


def interrupted(after: int):  # type: ignore[no-untyped-def]
    """Batches as from ``loader``, until something goes wrong."""
    for k, batch in enumerate(loader()):
        if k == after:
            raise Interrupted
        yield batch


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stopped_harvest_continues_to_the_same_bytes(
    store: repsim.ActivationStore, tmp_path: Path, after: int
) -> None:
    path = tmp_path / "again.h5"
    with pytest.raises(Interrupted):
        repsim.harvest(network(), interrupted(after), path, examples=N, provenance={"made": "here"})
    assert not path.exists()
    with pytest.raises(StoreError, match=r"not finished.*--resume"):
        repsim.open_store(path)
    with pytest.raises(UsageError, match="unfinished harvest; pass --resume or --overwrite"):
        repsim.harvest(network(), loader(), path, provenance={"made": "here"})
    repsim.harvest(network(), loader(), path, provenance={"made": "here"}, resume=True).close()
    assert path.read_bytes() == store.path.read_bytes()
    assert not part_path(path).exists()


def test_a_harvest_of_something_else_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(Interrupted):
        repsim.harvest(network(), interrupted(2), path, examples=N, provenance={"seed": 1})
    with pytest.raises(StoreError, match="begun with seed = 1, now it is 2"):
        repsim.harvest(network(), loader(), path, provenance={"seed": 2}, resume=True)


def test_a_loader_that_gives_less_or_more_than_it_says(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="50 of 60 examples arrived"):
        repsim.harvest(network(), list(loader()), tmp_path / "a.h5", examples=60)
    with pytest.raises(StoreError, match="more than the 40 examples expected"):
        repsim.harvest(network(), list(loader()), tmp_path / "b.h5", examples=40)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
def test_a_store_cut_short_is_refused(store: repsim.ActivationStore, share: float) -> None:
    store.close()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StoreError, match=r"cut short|damaged"):
        repsim.open_store(store.path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no activation store"):
        repsim.open_store(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(StoreError, match="not an HDF5 file"):
        repsim.open_store(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(StoreError, match="not an activation store of repsim"):
        repsim.open_store(tmp_path / "other.h5")
    with h5py.File(tmp_path / "newer.h5", "w") as file:
        file.attrs.update(format="repsim-activations", format_version=99)
    with pytest.raises(StoreError, match="format version 99"):
        repsim.open_store(tmp_path / "newer.h5")


@pytest.mark.parametrize("change", ["provenance", "version", "flat", "text", "none", "ids"])
def test_a_store_that_says_nonsense_is_refused(store: repsim.ActivationStore, change: str) -> None:
    store.close()
    with h5py.File(store.path, "r+") as file:
        if change == "provenance":
            file.attrs["provenance"] = "{nope"
        elif change == "version":
            file.attrs["format_version"] = "x"
        elif change == "flat":
            del file["layers/stem"]
            file["layers/stem"] = np.zeros(N)
            file["layers/stem"].attrs["order"] = 0
        elif change == "text":
            del file["layers/stem"]
            file["layers/stem"] = np.full((N, 2), b"x")
            file["layers/stem"].attrs["order"] = 0
        elif change == "none":
            del file["layers"]
            file.create_group("layers")
        else:
            del file["example_ids"]
            file["example_ids"] = 3
    with pytest.raises(StoreError, match=r"damaged|format version"):
        repsim.open_store(store.path)


def test_a_store_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    code = (
        "import sys, h5py; file = h5py.File(sys.argv[1], 'r+'); print('held', flush=True); "
        "sys.stdin.read()"
    )
    with pytest.raises(Interrupted):
        repsim.harvest(network(), interrupted(2), path, examples=N)
    before = part_path(path).read_bytes()
    holder = subprocess.Popen(
        [sys.executable, "-c", code, part_path(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(StoreError, match="being written by another process"):
            repsim.harvest(network(), loader(), path, **options)
    holder.communicate()
    assert part_path(path).read_bytes() == before
    repsim.harvest(network(), loader(), path, resume=True).close()


def test_an_unknown_layer_of_a_store(store: repsim.ActivationStore) -> None:
    with pytest.raises(UsageError, match="a has no layer 'steam'; did you mean 'stem'"):
        store["steam"]
    with pytest.raises(UsageError, match="no layer 'steam'"):
        repsim.cka_map(store, layers_a=["steam"])


@pytest.mark.slow
def test_a_killed_harvest_continues_to_the_same_bytes(
    store: repsim.ActivationStore, tmp_path: Path
) -> None:
    """``kill -9`` at moments spread over the harvest, from its first write on."""
    script = tmp_path / "harvest.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time, pathlib, torch
            sys.path.insert(0, sys.argv[1])
            import test_store
            def slow(*progress):
                time.sleep(0.05)
            test_store.repsim.harvest(
                test_store.network(), test_store.loader(4), sys.argv[2],
                provenance={"made": "here"}, progress=slow, resume=True,
            ).close()
            """
        )
    )
    here = str(Path(__file__).parent)
    whole = tmp_path / "whole.h5"
    subprocess.run([sys.executable, script, here, whole], check=True)
    for wait in (0.0, 0.1, 0.3):
        path = tmp_path / f"killed-{wait}.h5"
        process = subprocess.Popen([sys.executable, script, here, path])
        while not part_path(path).exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not path.exists()
        subprocess.run([sys.executable, script, here, path], check=True)
        assert path.read_bytes() == whole.read_bytes()
