"""Block sizes that both the computing code and the memory estimate use. Imports nothing."""

DEPTHS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}
"""Residual blocks of each group of an encoder."""
EVALUATION_BATCH = 256
"""Images that are encoded at once."""
LABEL_FREE_IMAGES = 1024
"""Images that the label-free metrics are computed on."""
KNN_CHUNK = 512
STANDARDISED_CHUNK = 4096
"""Rows at once, so that features are never in float64 as a whole."""
WHOLE_ROWS = 1024
"""Up to so many embeddings their similarities are one matrix, 4 MiB of float32; beyond, one tile at a time is made."""
TILES = {"cpu": 512, "cuda": 8192}
"""Rows and columns of a tile: on a CPU 1 MiB, which stays in a core's cache; on a GPU 256 MiB, so that few are made."""
