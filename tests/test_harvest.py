"""A harvest of networks as users have them, and by several processes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import repsim
from repsim.activations import plan_harvest
from repsim.activations.capture.pooling import Pooling
from repsim.activations.store.format import part_path
from repsim.errors import (
    CaptureError,
    MismatchError,
    RepsimWarning,
    ShapeError,
    StoreError,
    UsageError,
)
from repsim.networks import ResNet

N = 40
IMAGES = torch.randn(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace), nn.Flatten(), nn.Linear(256, 5)
    )


def loader(batch_size: int = 16) -> DataLoader:
    return DataLoader(TensorDataset(IMAGES), batch_size)


class Text(nn.Module):
    """A network of tokens, whose forward takes what tokenizers give."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(20, 6)
        self.lstm = nn.LSTM(6, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        hidden, _ = self.lstm(self.embedding(input_ids))
        return {"logits": self.head(hidden[:, -1])}


def texts(length: int = 7) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 20, (N, length), generator=generator)
    lengths = torch.randint(1, length + 1, (N, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return [
        {
            "input_ids": ids[k : k + 16],
            "attention_mask": mask[k : k + 16],
            "labels": torch.arange(N)[k : k + 16] % 3,
            "ids": [f"text/{i}" for i in range(N)[k : k + 16]],
        }
        for k in range(0, N, 16)
    ]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_are_stored_as_asked_and_h5py_reads_them(tmp_path: Path, dtype: str) -> None:
    with repsim.harvest(network(), loader(), tmp_path / "a.h5", dtype=dtype) as store:
        with torch.inference_mode():
            expected = network()[0](IMAGES).to(getattr(torch, dtype)).float().numpy()
        np.testing.assert_array_equal(np.asarray(store["0"][:], np.float32), expected)
        assert store.describe()[0]["dtype"] == dtype
        assert store.describe()[0]["bytes"] == N * 256 * (4 if dtype == "float32" else 2)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(np.asarray(file["layers/0"], np.float32), expected)


@pytest.mark.parametrize("compression", ["lzf", "gzip"])
def test_compression_changes_no_number(tmp_path: Path, compression: str) -> None:
    plain = repsim.harvest(network(), loader(), tmp_path / "a.h5", layers="type:ReLU")
    small = repsim.harvest(
        network(), loader(), tmp_path / "b.h5", layers="type:ReLU", compression=compression
    )
    np.testing.assert_array_equal(small["1"][:], plain["1"][:])
    assert small.verify() == []
    assert not part_path(small.path).exists()
    assert small.path.stat().st_size < plain.path.stat().st_size


def test_operations_in_place_change_nothing(tmp_path: Path) -> None:
    plain = repsim.harvest(network(), loader(), tmp_path / "a.h5")
    inplace = repsim.harvest(network(inplace=True), loader(), tmp_path / "b.h5")
    for layer in plain.layers:
        np.testing.assert_array_equal(plain[layer][:], inplace[layer][:])
    np.testing.assert_allclose(repsim.cka_map(plain, inplace).diagonal(), 1, atol=1e-6)


def test_a_residual_network_with_activations_in_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ResNet(3, 18, 8)
    twin = ResNet(3, 18, 8)
    twin.load_state_dict(model.state_dict())
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    images = torch.randn(24, 3, 32, 32)
    batches = [images[:16], images[16:]]
    stores = [
        repsim.harvest(each, batches, tmp_path / f"{k}.h5", layers="all", examples=24)
        for k, each in enumerate((model, twin))
    ]
    similar = repsim.cka_map(*stores)
    np.testing.assert_allclose(similar.diagonal(), 1, atol=1e-6)


def test_a_batch_may_be_a_dictionary_of_arguments(tmp_path: Path) -> None:
    on_padding = "layer 'head' gives an example other values with padding behind it"  # its last
    with (
        pytest.warns(RepsimWarning, match="lstm:1.0"),
        pytest.warns(RepsimWarning, match=on_padding),
    ):
        store = repsim.harvest(
            Text(), texts(), tmp_path / "a.h5", examples=N, pooling="embedding=avg,*=last"
        )
    assert store.layers == ("embedding", "lstm:0", "head")
    batch = texts()[1]
    model = Text()
    with torch.inference_mode():
        embedded = model.embedding(batch["input_ids"])
        hidden = model.lstm(embedded)[0]
    lengths = batch["attention_mask"].sum(1)
    averages = torch.stack([e[:k].mean(0) for e, k in zip(embedded, lengths, strict=True)])
    np.testing.assert_allclose(store["embedding"][16:32], averages, atol=1e-6)
    np.testing.assert_allclose(
        store["lstm:0"][16:32], hidden[torch.arange(16), lengths - 1], atol=1e-6
    )
    assert store.example_ids[17] == b"text/17"
    np.testing.assert_array_equal(store.labels, np.arange(N) % 3)


class Scaled(nn.Module):
    """A network with arguments that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.f, self.g = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor, scale: float = 1.0, use_tanh: bool = False) -> Tensor:
        hidden = self.f(x) * scale
        return self.g(hidden.tanh() if use_tanh else hidden)


def test_numbers_and_flags_of_a_batch_reach_the_network(tmp_path: Path) -> None:
    x, net = torch.randn(N, 6), Scaled()
    batches = [{"x": each, "scale": 3.0, "use_tanh": True, "note": "kept"} for each in x.split(8)]
    with pytest.warns(RepsimWarning, match="'note'") as said:
        store = repsim.harvest(net, batches, tmp_path / "a.h5", examples=N)
    assert len(said) == 1
    np.testing.assert_array_equal(
        store["g"][:], torch.cat([net(each, 3.0, True) for each in x.split(8)]).detach()
    )


def test_padding_that_would_be_stored_is_said(tmp_path: Path) -> None:
    with pytest.warns(RepsimWarning, match="'embedding' is kept with the tokens that are pad"):
        repsim.harvest(Text(), texts(), tmp_path / "a.h5", examples=N, layers=["embedding"])


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
def test_texts_of_other_lengths_are_refused_unless_pooled(tmp_path: Path) -> None:
    batches = [texts(7)[0], texts(9)[1], texts(9)[2]]
    with pytest.raises(ShapeError, match=r"'embedding' gives \(9, 6\).*\(7, 6\) before"):
        repsim.harvest(Text(), batches, tmp_path / "a.h5", examples=N, layers="embedding")
    store = repsim.harvest(
        Text(), batches, tmp_path / "b.h5", examples=N, layers="embedding", pooling="avg"
    )
    assert store["embedding"].shape == (N, 6)


def test_positions_become_examples(tmp_path: Path) -> None:
    store = repsim.harvest(
        network(), loader(), tmp_path / "a.h5", layers=["0", "1"], pooling="grid:2+positions"
    )
    whole = repsim.harvest(network(), loader(), tmp_path / "b.h5", layers=["0", "1"])
    assert store.n == N * 4
    assert [each.decode() for each in store.example_ids[4:7]] == ["1#0", "1#1", "1#2"]
    cells = whole["0"][:].reshape(N, 4, 2, 4, 2, 4).mean((3, 5)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(store["0"][:], cells.reshape(-1, 4), atol=1e-6)
    with pytest.raises(ShapeError, match="'0' gives 64 rows an example, '4' gives 16"):
        pooled = nn.Sequential(*list(network())[:2], nn.Identity(), nn.Identity(), nn.AvgPool2d(2))
        repsim.harvest(pooled, loader(), tmp_path / "c.h5", layers=["0", "4"], pooling="positions")


def test_a_projection_is_the_same_in_every_batch_and_another_for_another_network(
    tmp_path: Path,
) -> None:
    stores = [
        repsim.harvest(
            network(), loader(size), tmp_path / f"{size}.h5", layers=["1"], pooling="project:16"
        )
        for size in (8, 40)
    ]
    assert stores[0]["1"].shape == (N, 16)
    np.testing.assert_allclose(stores[0]["1"][:], stores[1]["1"][:], atol=1e-5)
    other = network()
    with torch.no_grad():
        other[3].weight += 1  # behind the layer: its activations stay, its directions do not
    found = repsim.harvest(other, loader(), tmp_path / "c.h5", layers=["1"], pooling="project:16")
    assert not np.allclose(found["1"][:], stores[0]["1"][:])


def test_stores_are_comparable_if_the_same_reductions_made_them(tmp_path: Path) -> None:
    whole = repsim.harvest(network(), loader(), tmp_path / "a.h5", layers=["0", "1"])
    rules = [{"0": "grid:2", "*": "avg"}, {"1": "grid:2", "*": "avg"}]
    a, b = (
        repsim.harvest(network(), loader(), tmp_path / f"{k}.h5", layers=["0", "1"], pooling=rule)
        for k, rule in enumerate(rules)
    )
    assert repsim.cka_map(a, b).pooled == ", pooling 0=grid:2,*=avg"
    with pytest.raises(MismatchError, match="pooling none"):
        repsim.cka_map(whole, a)


def test_a_plan_says_what_the_store_will_have(tmp_path: Path) -> None:
    options: dict[str, Any] = {"pooling": "0=grid:4,*=none", "dtype": "float16"}
    plan = plan_harvest(network(), loader(), **options)
    with repsim.harvest(network(), loader(), tmp_path / "a.h5", **options) as store:
        found = store.describe()
    assert [each["layer"] for each in found] == list(plan.layers)
    assert [each["shape"] for each in found] == [(N, *s.shape) for s in plan.layers.values()]
    assert sum(each["bytes"] for each in found) == plan.bytes
    assert list(tmp_path.iterdir()) == [tmp_path / "a.h5"]


def test_a_disk_that_is_too_small_is_seen_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StoreError, match="free, the store needs"):
        repsim.harvest(network(), loader(), tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([(IMAGES, None, ["x"] * N)], UsageError, "'x' comes twice"),
        ([(IMAGES, torch.rand(N))], UsageError, "labels of float32"),
        ([(IMAGES, ["cat"] * N)], UsageError, "are text, such as 'cat'; .* number the classes"),
        (
            [(IMAGES, np.array(["cat"] * N, object))],
            UsageError,
            "are text, such as 'cat'; .* number",
        ),
        ([(IMAGES, torch.full((N, 2), 2))], UsageError, r"shape \(40, 2\)"),
        ([(IMAGES, None, ["x"])], UsageError, "40 examples came with 1 ids"),
        ([object()], UsageError, "a batch gave object"),
        ([], UsageError, "gave no batch"),
        ([IMAGES[:30]], StoreError, "30 of 40 examples arrived"),
        ([IMAGES, IMAGES], StoreError, "more than the 40 examples expected"),
    ],
)
def test_batches_that_cannot_be_meant(
    tmp_path: Path, batches: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        repsim.harvest(network(), batches, tmp_path / "a.h5", examples=N)
    assert not (tmp_path / "a.h5").exists()


def test_pooling_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="'0' gives .*, but cls needs tokens"):
        repsim.harvest(network(), loader(), tmp_path / "a.h5", pooling="cls")
    with pytest.raises(UsageError, match="'bg1' is never used"):
        repsim.harvest(network(), loader(), tmp_path / "a.h5", pooling="bg1=avg")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_runs_other_layers_later_is_refused(tmp_path: Path) -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) if bool((x > 0).all()) else self.b(self.a(x))

    batches = [torch.ones(4, 2), -torch.ones(4, 2)]
    with pytest.raises(CaptureError):
        repsim.harvest(Moody(), batches[::-1], tmp_path / "a.h5", examples=8)


@pytest.mark.filterwarnings("ignore:the 16 examples of the loader have")
def test_a_failing_forward_keeps_what_is_committed(tmp_path: Path) -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(2, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            if float(x.max()) > 5:
                raise RuntimeError("too large")
            return self.line(x)

    torch.manual_seed(0)
    model = Fragile().train()
    good = [torch.rand(4, 2) for _ in range(3)]
    path = tmp_path / "a.h5"
    with pytest.raises(CaptureError, match=r"batch 4 .*: RuntimeError: too large"):
        repsim.harvest(model, [*good, torch.full((4, 2), 9.0)], path, examples=16)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    with h5py.File(part_path(path)) as file:
        assert file["progress"][()] == 12
    with repsim.harvest(model, [*good, torch.ones(4, 2)], path, examples=16, resume=True) as store:
        np.testing.assert_allclose(store["line"][:4], model.line(good[0]).detach(), atol=1e-7)
        assert store.verify() == []


def test_another_network_does_not_continue_a_harvest(tmp_path: Path) -> None:
    class Stops(Exception):
        pass

    def batches() -> Any:
        yield IMAGES[:20]
        yield IMAGES[20:30]
        raise Stops

    path, other = tmp_path / "a.h5", network()
    with torch.no_grad():
        other[3].bias += 1
    with pytest.raises(CaptureError, match=r"batch 3 \(after 30 examples.*Stops"):
        repsim.harvest(network(), batches(), path, examples=N)
    with pytest.raises(StoreError, match="begun with weights_sha256"):
        repsim.harvest(other, loader(20), path, examples=N, resume=True)
    with pytest.raises(StoreError, match="batches of another size"):
        repsim.harvest(
            network(), [IMAGES[:20], IMAGES[20:25], IMAGES[25:]], path, examples=N, resume=True
        )


def test_a_resumed_harvest_must_see_the_examples_of_before(tmp_path: Path) -> None:
    def batches(order: list[int], upto: int) -> Any:
        for k in range(0, upto, 10):
            rows = order[k : k + 10]
            yield IMAGES[rows], None, [f"i{row}" for row in rows]
        if upto < N:
            raise KeyboardInterrupt

    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        repsim.harvest(network(), batches(list(range(N)), 20), path, examples=N)
    with pytest.raises(StoreError, match="row 0 of .* as 'i0', the loader now gives 'i39'"):
        repsim.harvest(network(), batches(list(range(N))[::-1], N), path, examples=N, resume=True)
    options: dict[str, Any] = {"examples": N, "resume": True}
    with pytest.raises(StoreError, match="begun with other layers: 0, 1, 2, 3"):
        repsim.harvest(network(), batches(list(range(N)), N), path, layers=["1"], **options)
    repsim.harvest(network(), batches(list(range(N)), N), path, **options).close()
    with pytest.raises(StoreError, match="another harvest: example ids differ"):
        repsim.harvest(network(), batches(list(range(N))[::-1], N), path, **options)


def test_labels_come_with_all_batches_or_with_none(tmp_path: Path) -> None:
    labels = torch.arange(20)
    for batches in (
        [(IMAGES[:20], labels), (IMAGES[20:], None)],
        [(IMAGES[:20], None), (IMAGES[20:], labels)],
    ):
        with pytest.raises(UsageError, match="labels with all or with none"):
            repsim.harvest(network(), batches, tmp_path / "a.h5", examples=N, overwrite=True)


@pytest.mark.parametrize("example_id", ["", "a\0", "x" * 129, "\ud800"])
def test_ids_that_a_store_cannot_tell_apart_are_refused(tmp_path: Path, example_id: str) -> None:
    batches = [(IMAGES[:2], None, ["a", example_id])]
    with pytest.raises((StoreError, UnicodeEncodeError)):
        repsim.harvest(network(), batches, tmp_path / "a.h5", examples=2)
    assert not (tmp_path / "a.h5").exists()


def test_one_number_an_example_is_a_layer(tmp_path: Path) -> None:
    model = nn.Sequential(*network(), nn.Linear(5, 1), nn.Flatten(0))
    with repsim.harvest(model, loader(), tmp_path / "a.h5", layers=["4", "5"]) as store:
        np.testing.assert_array_equal(store["4"][:], store["5"][:])


def test_averages_of_halves_do_not_overflow_where_there_is_padding() -> None:
    tokens = torch.full((2, 300, 4), 300.0, dtype=torch.float16)
    mask = torch.ones(2, 300)
    mask[1, 7:] = 0
    found = Pooling("avg")(tokens, mask=mask)
    torch.testing.assert_close(found, torch.full((2, 4), 300.0))


def test_a_network_that_does_not_take_the_inputs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"inputs \(40, 1, 8, 8\) torch.float32\), in layer"):
        repsim.harvest(network(), [IMAGES[:, :1]], tmp_path / "a.h5", examples=N)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_that_begin_at_once_do_not_mix(tmp_path: Path) -> None:
    script = tmp_path / "race.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time, torch, repsim
            from torch import nn
            torch.set_num_threads(1)
            torch.manual_seed(0)
            model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.ones(8, 4)
            for k in range(20):
                time.sleep(0.3 - time.time() % 0.3)
                try:
                    repsim.harvest(model, [x], f"{sys.argv[1]}/{k}.h5", examples=8).close()
                except repsim.RepsimError as error:
                    print(error)
            """
        )
    )
    command = [sys.executable, str(script), str(tmp_path)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in started:
        _, error = process.communicate()
        assert process.returncode == 0, error.decode()
    for k in range(20):
        with repsim.open_store(tmp_path / f"{k}.h5") as store:
            assert store.verify() == []


KILLED = """
    import os, signal, sys, time, torch, repsim
    from torch import nn

    class Slow(nn.Sequential):
        def forward(self, x):
            time.sleep(0.02)
            return super().forward(x)

    def harvest(name):
        torch.manual_seed(0)
        model = Slow(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 8))
        x = torch.randn(600, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        repsim.harvest(model, list(x.split(7)), f"{folder}/{name}.h5", examples=600, resume=True,
                       compression=compression).close()

    folder, compression, *waits = sys.argv[1:]
    torch.set_num_threads(1)
    harvest("whole")
    for wait in map(float, waits):
        child = os.fork()  # a new program would take longer to import torch than to harvest
        if child == 0:
            harvest("killed")
            os._exit(0)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(os.WIFSIGNALED(status) and os.WTERMSIG(status))
    harvest("killed")
"""


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_killed_again_and_again_it_gives_the_same_store(tmp_path: Path, compression: str) -> None:
    script, path = tmp_path / "harvest.py", tmp_path / "killed.h5"
    script.write_text(textwrap.dedent(KILLED))
    rng = random.Random(0)
    waits = [str(rng.uniform(0.02, 0.5)) for _ in range(6)]
    command = [sys.executable, str(script), str(tmp_path), compression, *waits]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) == 6
    assert done.stdout.split().count(str(int(signal.SIGKILL))) >= 4
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    with repsim.open_store(path) as store:
        assert store.verify() == []


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and ``one.h5``, its harvest by one process."""
    from repsim.activations import harvest_run
    from repsim.data import load
    from repsim.training.compose import configure
    from repsim.training.loop import train

    folder = tmp_path_factory.mktemp("single")
    run = train(
        "supervised", configure("supervised", {"width": 4, "epochs": 0}), folder / "runs" / "u"
    )
    images = load("digits", "test[:100]")
    harvest_run(run, images, path=folder / "one.h5", batch_size=24).close()
    return folder


HARVEST = ("-m", "repsim", "harvest", "u", "--split", "test[:100]", "--batch-size", "24")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
SRUN = {
    **{"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"},
    **{"SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "1", "MASTER_ADDR": "127.0.0.1"},
}


def start_harvest(
    single: Path, target: Path, *, before: Sequence[str] = (), after: Sequence[str] = (), **env: str
) -> subprocess.Popen[str]:
    """The command that harvests the run of ``single`` to ``target``, started."""
    command = [sys.executable, *before, *HARVEST, "-o", str(target), "--device", "cpu", *after]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=single, env=environment, text=True, **pipes)


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["devices", "torchrun", "srun"])
def test_two_processes_give_the_store_of_one(single: Path, tmp_path: Path, launcher: str) -> None:
    target = tmp_path / "two.h5"
    if launcher == "devices":
        started = [start_harvest(single, target, after=["--devices", "2"])]
    elif launcher == "torchrun":
        started = [start_harvest(single, target, before=TORCHRUN)]
    else:
        slurm = {**SRUN, "MASTER_PORT": free_port()}
        started = [
            start_harvest(single, target, **slurm, SLURM_PROCID=rank, SLURM_LOCALID=rank)
            for rank in "01"
        ]
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    assert "".join(out for out, _ in said).count("n = 100") == 1
    assert target.read_bytes() == (single / "one.h5").read_bytes()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
def test_labels_that_make_a_network_fail_are_said(tmp_path: Path) -> None:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            found = self.head(x)
            return found if labels is None else nn.functional.nll_loss(found, labels)

    x, labels = torch.randn(N, 6), torch.arange(N) + 3
    with pytest.raises(CaptureError, match=r"given 'labels'. .* as \(inputs, labels\)"):
        repsim.harvest(Loss(), [{"x": x, "labels": labels}], tmp_path / "a.h5", examples=N)
    with repsim.harvest(Loss(), [({"x": x}, labels)], tmp_path / "a.h5", examples=N) as store:
        assert store.labels.tolist() == labels.tolist()
