"""GAN discriminator and classifier as feature extractors.

Mao et al. (2019, 2022): an M-GAN has a discriminator and a classifier that tells its generators
apart. Both read images by four convolutions, which they share, or some of them; the features are
judged by new heads on frozen networks, and by what the old heads see of them.
"""

from pathlib import Path

from repsim.figures.papers.engine import Paper
from repsim.figures.papers.mao2022.analyses import ANALYSES
from repsim.figures.papers.mao2022.claims import CLAIMS, words
from repsim.figures.papers.mao2022.earlier import earlier_run
from repsim.figures.papers.mao2022.figures import FIGURES
from repsim.figures.papers.mao2022.heads import quality
from repsim.figures.papers.mao2022.runs import RUNS, SPLITS
from repsim.figures.papers.mao2022.tables import TABLES

PAPER = Paper(
    name="mao2022",
    title="Mao et al.: Discriminator and classifier of a GAN with several generators as extractors",
    splits=SPLITS,
    runs=RUNS,
    analyses=ANALYSES,
    figures=FIGURES,
    tables=TABLES,
    claims=CLAIMS,
    words=words,
    quality=quality,
    differences=(
        "Shared convolutions are moved by the discriminator's optimiser and the classifier's in "
        "turn: the literal reading of Table 1, which gives each network an optimiser.",
        "Real and generated images pass through the discriminator apart, with batch statistics of "
        "their own, in training and in all results.",
        "Images are padded to 32 x 32 pixels, from -1 to 1.",
        "Verdicts are on new heads by L-BFGS, which have converged; the paper's (SGD, rate "
        "2e-4, 20 epochs), which need not have, are reported beside them.",
        "Bands and intervals are over networks; the paper has single runs.",
    ),
    earlier_run=earlier_run,
    folder=Path(__file__).parent,
)
