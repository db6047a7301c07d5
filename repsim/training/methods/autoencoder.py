"""An autoencoder, the baseline of Donahue et al. (2017), with l1 or l2 loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from repsim.networks.image_spec import ImageSpec
from repsim.training.config import TrainConfig
from repsim.training.losses import reconstruction_error, reconstruction_scores
from repsim.training.method import Batch, Method, StepContext
from repsim.training.schedules import constant_exponential


class Config(TrainConfig):
    """The optimiser of the paper's BiGAN."""

    epochs: int = Field(20, ge=0, description="passes over the training part")
    code: int = Field(128, ge=1, description="features of the code")
    loss: Literal["l1", "l2"] = Field("l2", description="mean absolute or mean squared error")
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam")
    beta1: float = Field(0.5, ge=0, lt=1, description="first momentum of Adam")
    weight_decay: float = Field(2.5e-5, ge=0, description="on every parameter")


class Autoencoder(Method):
    """min over encoder E and decoder G: E ‖x - G(E(x))‖, the mean over pixels."""

    settings = Config
    network = "dcgan"
    network_before = "dcgan"
    roles = ("encoder", "decoder")
    extractors = ("encoder",)
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.networks = {
            "encoder": self.family.encoder(spec, config.code),
            "decoder": self.family.decoder(spec, config.code),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        both = [p for network in self.networks.values() for p in network.parameters()]
        return {"both": Adam(both, c.lr, (c.beta1, 0.999), weight_decay=c.weight_decay)}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        return constant_exponential(step, steps)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        encoder, decoder = (context.networks[name] for name in self.networks)
        loss = reconstruction_error(batch.images, decoder(encoder(batch.images)), self.config.loss)
        context.descend(loss, "both")
        return {"loss": loss.detach()}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return reconstruction_scores(batch.images, self.reconstructions(batch.images))

    def reconstructions(self, images: Tensor) -> Tensor:
        return self.networks["decoder"](self.networks["encoder"](images))


METHOD = Autoencoder
