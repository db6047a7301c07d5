"""Numbers of the paper, and of the log that its authors' code comes with."""

#: Table 1: accuracy (%) of the nearest neighbour on MNIST.
NEAREST = {
    "BiGAN": 97.39,
    "D": 97.30,
    "LR": 97.44,
    "JLR": 97.13,
    "AE (l2)": 97.58,
    "AE (l1)": 97.63,
}

#: The log of a BiGAN of MNIST by epochs: nearest neighbours (%), and reconstruction errors of real
#: images and of generated ones over the errors of shuffled ones.
LOG_NEAREST = {0: 96.84, 1: 92.56, 25: 96.28, 200: 97.14, 400: 97.35}
LOG_IMAGES = {0: 1.00, 1: 0.91, 25: 0.77, 200: 0.61, 400: 0.62}
LOG_GENERATED = {25: 0.67, 200: 0.55, 400: 0.57}

#: Table 2: accuracy (%) on ImageNet with the convolutions up to each frozen.
FROZEN_AFTER = ("conv1", "conv2", "conv3", "conv4", "conv5")
FROZEN = {
    "random": (48.5, 41.0, 34.8, 27.1, 12.0),
    "BiGAN": (54.2, 51.9, 47.3, 41.9, 31.1),
    "BiGAN, 112 x 112": (53.5, 50.9, 47.4, 41.9, 32.2),
    "Doersch et al.": (53.1, 47.6, 48.7, 45.6, 30.4),
    "Noroozi and Favaro": (57.1, 56.0, 52.4, 48.3, 38.1),
    "Wang and Gupta": (51.8, 46.9, 42.8, 38.8, 29.8),
}
