"""Adversarial feature learning: BiGAN and its baselines.

Donahue, Krähenbühl and Darrell (2017): an encoder that is trained with a GAN inverts its generator,
and its features serve tasks with labels. Nearest neighbours in feature space, reconstruction both
ways, and networks whose first layers are frozen.
"""

from pathlib import Path

from repsim.figures.papers.donahue2017.analyses import ANALYSES
from repsim.figures.papers.donahue2017.claims import CLAIMS
from repsim.figures.papers.donahue2017.figures import FIGURES
from repsim.figures.papers.donahue2017.runs import RUNS, SPLITS
from repsim.figures.papers.donahue2017.tables import TABLES
from repsim.figures.papers.engine import Paper

PAPER = Paper(
    name="donahue2017",
    title="Donahue, Krähenbühl and Darrell (2017): Adversarial feature learning",
    splits=SPLITS,
    runs=RUNS,
    analyses=ANALYSES,
    figures=FIGURES,
    tables=TABLES,
    claims=CLAIMS,
    differences=(
        "A batch of a BiGAN is two minibatches, one for each update; its epochs are twice as many, "
        "so that every method sees as many images in each update.",
        "The paper does not name the layer whose nearest neighbours it takes: the second hidden "
        "layer is, which gives the numbers of the authors' log.",
        "The training of the autoencoders is not described: they have the optimiser and schedule "
        "of the others, and their codes are not bounded.",
        "The regression of the joint latent regressor is a mean over images and numbers of noise.",
        "Each network normalises by statistics of the images that it is shown: encoders of latent "
        "regressors, trained on generated images, by statistics of real ones.",
        "Photographs are CIFAR-10 at 32 x 32 instead of ImageNet, in place of AlexNet stands one "
        "with small kernels, and frozen transfer is to the classes of CIFAR-10.",
        "In place of PASCAL VOC there are scenes of digits, or of images of CIFAR-10, several in "
        "each; layers that are trained with the classifier begin from the weights that the "
        "network has, where the paper puts new fully connected ones on a BiGAN's convolutions.",
        "Intervals are over seeds.",
    ),
    folder=Path(__file__).parent,
)
