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

#: Table 3: mean average precision (%) on PASCAL VOC 2007, by what is trained: the classifier alone,
#: the fully connected layers too, and all.
VOC_COLUMNS = ("fc8", "fc6-8", "all")
VOC = {
    "supervised": (77.0, 78.8, 78.3),
    "BiGAN": (37.5, 48.7, 58.9),
    "BiGAN, 112 x 112": (40.7, 52.3, 60.1),
    "D": (30.7, 40.5, 56.4),
    "LR": (36.9, 47.9, 57.1),
    "JLR": (37.1, 47.9, 56.5),
    "AE (l2)": (24.8, 16.0, 53.8),
    "k-means": (32.0, 39.2, 56.6),
    "Doersch et al.": (44.7, 55.1, 65.3),
    "Wang and Gupta": (28.4, 55.6, 63.1),
    "Agrawal et al.": (31.2, 31.0, 54.2),
}
