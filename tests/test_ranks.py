"""Several processes: what each holds of the others, and that two halves are one whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from repsim.training.losses import nt_xent
from repsim.training.ranks import of_other_ranks

RANKS, IMAGES = 2, 12


def network() -> nn.Module:
    """Without BN, whose statistics are of the images of one process."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def views() -> Tensor:
    """(2, images, 6)"""
    return torch.randn(2, IMAGES, 6, generator=torch.Generator().manual_seed(1))


def loss_of(model: nn.Module, both: Tensor) -> Tensor:
    """The loss as a step of SimCLR takes it."""
    z = model(both.flatten(0, 1))
    z1, z2 = z.chunk(2)
    return nt_xent(z1, z2, 0.5, of_other_ranks(z))


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS
    )
    others = of_other_ranks(torch.full((2, 3), float(rank)))
    model = nn.parallel.DistributedDataParallel(network())
    loss = loss_of(model, views().chunk(RANKS, dim=1)[rank])
    loss.backward()
    found = {
        "others": others,
        "loss": loss.detach(),
        "gradients": [p.grad for p in model.parameters()],
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_alone_there_are_no_others() -> None:
    assert of_other_ranks(torch.ones(2, 3)) is None


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_two_ranks_with_half_the_images_each_are_one_with_all(tmp_path: Path) -> None:
    mp.spawn(worker, (str(tmp_path),), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS))
    assert torch.equal(first["others"], torch.ones(2, 3))
    assert torch.equal(second["others"], torch.zeros(2, 3))

    model = network()
    whole = loss_of(model, views())
    whole.backward()
    mean = (first["loss"] + second["loss"]) / 2
    assert float(mean) == pytest.approx(float(whole.detach()), abs=1e-6)
    for p, one, two in zip(
        model.parameters(), first["gradients"], second["gradients"], strict=True
    ):
        assert torch.allclose(one, p.grad, atol=1e-6)
        assert torch.equal(one, two)
    # Without the others' images it is another loss.
    halves = [nt_xent(*model(half.flatten(0, 1)).chunk(2), 0.5) for half in views().chunk(2, 1)]
    assert abs(float(sum(halves).detach()) / 2 - float(whole.detach())) > 0.1
