"""Block sizes that both the computing code and the memory estimate use. Imports nothing."""

DEPTHS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}
"""Number of residual blocks in each group of an encoder."""
EVALUATION_BATCH = 256
"""Number of images encoded at once."""
LABEL_FREE_IMAGES = 1024
"""Number of images for the label-free metrics."""
LIDAR_IMAGES, LIDAR_VIEWS = 512, 8
"""Number of images and views per image for LiDAR (in the paper: 1,000 and 50)."""
KNN_CHUNK = 512
STANDARDISED_CHUNK = 4096
"""Number of rows standardised at once, so that the features are never all in float64."""
WHOLE_ROWS = 1024
"""Number of embeddings up to which similarities are one matrix (4 MiB of float32); larger ones are tiled."""
TILES = {"cpu": 512, "cuda": 8192}
"""Rows and columns of a tile: 1 MiB on a CPU, which fits into a core's cache; 256 MiB on a GPU, for few launches."""
