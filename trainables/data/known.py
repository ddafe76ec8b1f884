"""What is known of each data set before anything of it is on disk; planning reads this and nothing heavier."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSetFacts:
    """One data set as published, and the rules by which a store is made of it.

    `image_size` is height and width in pixels. `class_names` is empty where they come with the data (`classes` counts
    them all the same). `published_sizes` is images a split; `sizes_note` says how far to trust them. `rules` names
    groups of classes that make an image positive in a binary task. `test_share` is the share of images that the stable
    hash puts into the test split, None where the data come split. `recipe` is part of a store's identity.
    """

    name: str
    image_size: int
    classes: int
    class_names: tuple[str, ...]
    multi_label: bool
    published_sizes: dict[str, int]
    sizes_note: str
    source: str
    licence: str
    rules: dict[str, tuple[str, ...]]
    test_share: float | None
    recipe: dict[str, str]
    layout: str | None
    """What `--source` has to point to; None where the data come with an installed package."""


EUROSAT_CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)

BIGEARTHNET_LABELS = (
    "Continuous urban fabric",
    "Discontinuous urban fabric",
    "Industrial or commercial units",
    "Road and rail networks and associated land",
    "Port areas",
    "Airports",
    "Mineral extraction sites",
    "Dump sites",
    "Construction sites",
    "Green urban areas",
    "Sport and leisure facilities",
    "Non-irrigated arable land",
    "Permanently irrigated land",
    "Rice fields",
    "Vineyards",
    "Fruit trees and berry plantations",
    "Olive groves",
    "Pastures",
    "Annual crops associated with permanent crops",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland",
    "Moors and heathland",
    "Sclerophyllous vegetation",
    "Transitional woodland/shrub",
    "Beaches, dunes, sands",
    "Bare rock",
    "Sparsely vegetated areas",
    "Burnt areas",
    "Inland marshes",
    "Peatbogs",
    "Salt marshes",
    "Salines",
    "Intertidal flats",
    "Water courses",
    "Water bodies",
    "Coastal lagoons",
    "Estuaries",
    "Sea and ocean",
)
"""The 43 CORINE labels of BigEarthNet v1.0, in the order of its label_indices.json."""

THESIS_FARMLAND = (
    "Non-irrigated arable land",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
)

DIGITS = DataSetFacts(
    name="digits",
    image_size=8,
    classes=10,
    class_names=tuple("0123456789"),
    multi_label=False,
    published_sizes={"train": 1_425, "test": 372},
    sizes_note="exact: the hash split of all 1,797 scans",
    source="scikit-learn load_digits (UCI, Optical Recognition of Handwritten Digits)",
    licence="CC BY 4.0",
    rules={"closed_loop": ("0", "6", "8", "9")},
    test_share=0.2,
    recipe={"pixels": "round(value * 255 / 16), repeated into R, G, B", "split": "stable hash of digit_<index>"},
    layout=None,
)

TINY_IMAGENET = DataSetFacts(
    name="tiny_imagenet",
    image_size=64,
    classes=200,
    class_names=(),
    multi_label=False,
    published_sizes={"train": 100_000, "test": 10_000},
    sizes_note="exact: the published train/ and val/",
    source="Tiny ImageNet, Stanford CS231N (tiny-imagenet-200.zip)",
    licence="no open licence: ImageNet's terms, non-commercial research and education only",
    rules={},
    test_share=None,
    recipe={"pixels": "JPEG as decoded, greyscale repeated into R, G, B", "split": "train/ as train, val/ as test"},
    layout="the unpacked tiny-imagenet-200: train/<wnid>/images/*.JPEG, val/images, val/val_annotations.txt, words.txt",
)

BIGEARTHNET = DataSetFacts(
    name="bigearthnet",
    image_size=120,
    classes=43,
    class_names=BIGEARTHNET_LABELS,
    multi_label=True,
    published_sizes={"train": 109_830, "test": 36_610},
    sizes_note="as the thesis states; of all 590,326 patches `--fraction 0.25` keeps 110,528 and 37,169",
    source="BigEarthNet-S2 v1.0 (bigearth.net)",
    licence="CDLA-Permissive-1.0; contains modified Copernicus Sentinel data",
    rules={"farmland": THESIS_FARMLAND},
    test_share=0.25,
    recipe={
        "bands": "B04, B03, B02",
        "pixels": "clip(value / 2000 * 255, 0, 255), truncated",
        "labels": "43 CORINE labels",
        "split": "stable hash of the patch name",
    },
    layout="the unpacked BigEarthNet-v1.0: <patch>/<patch>_B02.tif, _B03.tif, _B04.tif and _labels_metadata.json",
)

EUROSAT = DataSetFacts(
    name="eurosat",
    image_size=64,
    classes=10,
    class_names=EUROSAT_CLASSES,
    multi_label=False,
    published_sizes={"train": 21_600, "test": 5_400},
    sizes_note="exact: a fifth of each class of the 27,000 published images",
    source="EuroSAT RGB (github.com/phelber/EuroSAT)",
    licence="MIT",
    rules={"farmland": ("AnnualCrop", "PermanentCrop", "Pasture")},
    test_share=0.2,
    recipe={"pixels": "JPEG as decoded", "split": "by class, stable hash of the file name; no official split"},
    layout="the unpacked EuroSAT: a folder for each of the ten classes with <Class>_<i>.jpg (2750/ in the archive)",
)

KNOWN: dict[str, DataSetFacts] = {facts.name: facts for facts in (DIGITS, TINY_IMAGENET, BIGEARTHNET, EUROSAT)}
