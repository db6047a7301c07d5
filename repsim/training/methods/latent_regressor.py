"""An encoder that finds the noise of a trained generator again (Donahue et al. 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from repsim.batch_statistics import normalisations
from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import noise_for
from repsim.training.inverting import Inverting, InvertingConfig, regression
from repsim.training.method import Batch, StepContext
from repsim.training.optimizers import adam
from repsim.training.run import Run


class Config(InvertingConfig):
    """The optimiser of the BiGAN beside it."""

    gan: str = Field(
        "gan", min_length=1, description="the run whose generator is inverted, beside this one"
    )


class LatentRegressor(Inverting):
    """min over E of E loss(E(G(z)), z), G being the generator of a run that is over.

    The encoder never sees a real image; of the batches of the training part, only their size
    matters. The generator stays as it is, and normalises by batch, as in its own training.
    """

    settings = Config
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        for norm in normalisations(self.networks["generator"]).values():
            norm.momentum = 0.0  # no step moves its running statistics

    def begin(self, folder: Path) -> dict[str, Any]:
        run = Run(folder / self.config.gan)
        _check(self, run)
        trained = run.load_method().networks["generator"]
        self.networks["generator"].load_state_dict(trained.state_dict())
        return {"gan": run.name, "checkpoint_sha256": run.digest()}

    def optimizers(self) -> dict[str, Optimizer]:
        return {"encoder": adam(self.config, self.networks["encoder"])}

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        z = noise_for(self.config, len(batch.images), batch.images.device)
        with torch.no_grad():
            fake = context.networks["generator"](z)
        loss = regression(self.config, context.networks["encoder"](fake), z)
        context.descend(loss, "encoder")
        return {"loss": loss.detach()}


def _check(method: LatentRegressor, run: Run) -> None:
    """Raise ``UsageError`` unless a run has a generator such as the method's own."""
    if not run.exists:
        raise UsageError(
            f"gan is {method.config.gan!r}, but there is no run {run.path}; train a GAN of that "
            "name first, or name another with --gan"
        )
    built = run.build()
    if "generator" not in built.networks or "generators" in type(built.config).model_fields:
        raise UsageError(
            f"run {run.name!r} is of the method {run.describe()['method']}, which has no single "
            "generator; name a run of gan, wgan or bigan with --gan"
        )
    theirs, own = _of_generator(built), _of_generator(method)
    for key, value in theirs.items():
        if own.get(key) != value:
            raise UsageError(
                f"the generator of run {run.name!r} has {key} = {value!r}, this run has "
                f"{own.get(key)!r}; train both with the same"
            )


def _of_generator(method: Any) -> dict[str, Any]:
    """The settings and facts that a generator and its noise are built by."""
    config, spec = method.config, method.made_spec
    network = {key: getattr(config, key) for key in type(method.family).settings.model_fields}
    return {
        "network": config.network,
        **network,
        "latent": config.latent,
        "noise": config.noise,
        "channels": spec.channels,
        "image_size": f"{spec.height}x{spec.width}",
    }


METHOD = LatentRegressor
