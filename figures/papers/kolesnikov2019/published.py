"""Numbers of the paper, and of others' code."""

#: Accuracy (%) on CIFAR-10 of classifiers on the blocks of a NIN of four blocks that learned
#: rotation: Gidaris et al. (2018), and a user's run of the authors' code.
NIN = {"Gidaris et al. (2018)": (85.07, 89.06, 86.21, 61.73)}
