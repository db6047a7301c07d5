"""SimCLR against supervised training, layer against layer.

Grigg et al. (2021) train one residual network by both on CIFAR-10. Layers are compared as in the
paper: "odd" layers are those that a residual block adds, "even" layers those that it gives. Of the
paper's hyperparameters, examples and estimator nothing is known; those here are of Chen et al.
(2020), appendix B.9, and the usual for supervised training.
"""

from pathlib import Path

from repsim.figures.papers.engine import Paper
from repsim.figures.papers.grigg2021.analyses import ANALYSES
from repsim.figures.papers.grigg2021.claims import CLAIMS
from repsim.figures.papers.grigg2021.earlier import earlier, earlier_run
from repsim.figures.papers.grigg2021.figures import FIGURES, TABLES
from repsim.figures.papers.grigg2021.quality import quality
from repsim.figures.papers.grigg2021.runs import RUNS, SPLITS

PAPER = Paper(
    name="grigg2021",
    title="Grigg et al. (2021): Do self-supervised and supervised methods learn similar visual "
    "representations?",
    splits=SPLITS,
    runs=RUNS,
    analyses=ANALYSES,
    figures=FIGURES,
    tables=TABLES,
    claims=CLAIMS,
    quality=quality,
    differences=(
        "Hyperparameters of the training, the number of examples and the estimator are not known "
        "of the paper: SimCLR is trained as in Chen et al. (2020), appendix B.9, supervised "
        "networks as is usual for CIFAR-10, and CKA is the unbiased estimator summed over "
        "minibatches of 256 (Nguyen et al. 2021).",
        "Invariance is measured under SimCLR's augmentation for all networks, in Figure 5 under "
        "each one's own: the paper's Figure 5 can be read in two ways.",
        "Bands and intervals are over networks; the paper shows single ones.",
    ),
    fewest_seeds=2,
    earlier=earlier,
    earlier_run=earlier_run,
    folder=Path(__file__).parent,
)
