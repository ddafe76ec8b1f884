"""Facts about published data sets that need none of their files; it imports nothing heavy, as planning uses it."""

from dataclasses import dataclass, field, replace

from trainables.data.class_names import (
    AGRICULTURE_19,
    AGRICULTURE_43,
    EUROSAT_BANDS,
    EUROSAT_CLASSES,
    FARMLAND_19,
    LABELS_19,
    LABELS_43,
    RGB_BANDS,
    SENTINEL_2_BANDS,
    THESIS_FARMLAND,
)

PATCH_BANDS = tuple(band for band in SENTINEL_2_BANDS if band != "B10")
"""Bands of BigEarthNet; level 2A has no B10."""
V1_SPLITS = "https://git.tu-berlin.de/rsim/BigEarthNet-MM_19-classes_models/-/raw/9a5be07346ab0884b2d9517475c27ef9db9b5104/splits"
"""Official splits at a fixed commit; TorchGeo's BigEarthNet lists the checksums of splits and archive."""
V1_SITE = "https://raw.githubusercontent.com/rsim-tu-berlin/bigearth.net/1236b8d9c0b7fff653733ab907581d3129f809db/static/documents"
"""bigearth.net at a fixed commit; it publishes no checksums, so these were computed from that commit's files."""
V2_RECORD = "https://zenodo.org/records/10891137/files"
"""Zenodo record with checksums; TorchGeo's BigEarthNetV2 also lists that of metadata.parquet."""
SENTINEL_PIXELS = ("thesis", "percentiles", "reflectance", "none")


@dataclass(frozen=True)
class PublishedFile:
    """Published file with size and MD5; either is None if unknown.

    Files without a checksum are downloaded over https only. EuroSAT's checksums are from torchvision (RGB) and
    TorchGeo (MS).
    """

    url: str
    bytes: int | None = None
    md5: str | None = None


@dataclass(frozen=True)
class DataSetFacts:
    """Published data set and the preparation options it offers.

    Attributes:
        image_size: Height and width in pixels; None if the images determine it.
        label_sets: Class names per label set, the default first; empty if the names come with the data.
        classes: Number of classes.
        rules: For each label set, the class groups that make an image positive.
        pixels: Pixel rules to choose from, the default first.
        splits: Split rules to choose from, the default first.
        bands: All available bands.
        default_bands: Bands used by default.
        published_sizes: Number of images per split with default options.
        sizes_note: How reliable `published_sizes` are.
        recipe: Remaining preparation steps; part of a store's fingerprint.
    """

    name: str
    image_size: int | None
    classes: int
    multi_label: bool
    published_sizes: dict[str, int]
    sizes_note: str
    source: str
    licence: str
    recipe: dict[str, str]
    layout: str | None
    """Description of what `--source` must point to; None if an installed package contains the data."""
    archive: PublishedFile | None = None
    lists: tuple[PublishedFile, ...] = ()
    """Additional files beside the archive: official splits, patches with snow or clouds."""
    label_sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    label_rules: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    bands: tuple[str, ...] = ()
    default_bands: tuple[str, ...] = ()
    pixels: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("published",)
    exclusions: tuple[str, ...] = ()
    test_share: float | None = None
    """Share of test images chosen by the stable hash; None if the splits are published."""
    thesis_share: float | None = None
    """Positive share that the thesis reports, for comparison."""
    pixel_metres: float | None = None
    """Ground sampling distance at `image_size` in metres per pixel; None if unknown."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names of the default label set; empty if they come with the data."""
        return next(iter(self.label_sets.values()), ())

    @property
    def rules(self) -> dict[str, tuple[str, ...]]:
        """Positive rules of the default label set."""
        return self.label_rules.get(next(iter(self.label_sets), ""), {})


FARMLAND_CLASSES = ("other", "farmland")
BIGEARTHNET_RULES_43 = {"farmland": THESIS_FARMLAND, "agriculture": AGRICULTURE_43}
BIGEARTHNET_RULES_19 = {
    "farmland": FARMLAND_19,
    "farmland_as_written": THESIS_FARMLAND[1:],
    "agriculture": AGRICULTURE_19,
}

DIGITS = DataSetFacts(
    name="digits",
    image_size=8,
    classes=10,
    label_sets={"digits": tuple("0123456789")},
    label_rules={"digits": {"closed_loop": ("0", "6", "8", "9")}},
    multi_label=False,
    published_sizes={"train": 1_425, "test": 372},
    sizes_note="exact: the hash split of all 1,797 scans",
    source="scikit-learn load_digits (UCI, Optical Recognition of Handwritten Digits)",
    licence="CC BY 4.0",
    test_share=0.2,
    splits=("random",),
    recipe={"values": "round(value * 255 / 16), repeated into R, G, B"},
    layout=None,
)

TINY_IMAGENET = DataSetFacts(
    name="tiny_imagenet",
    image_size=64,
    classes=200,
    multi_label=False,
    published_sizes={"train": 100_000, "test": 10_000},
    sizes_note="exact: the published train/ and val/",
    source="Tiny ImageNet, Stanford CS231N (tiny-imagenet-200.zip)",
    licence="no open licence: ImageNet's terms, non-commercial research and education only",
    recipe={"values": "JPEG as decoded, greyscale repeated into R, G, B", "test": "val/, as in the thesis"},
    splits=("published",),
    layout="tiny-imagenet-200.zip, or its folder: train/<wnid>/images/*.JPEG, val/images, val/val_annotations.txt, "
    "words.txt",
    archive=PublishedFile(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip", 248_100_043, "90528d7ca1a48142e341f4ef8d21d0de"
    ),
)

BIGEARTHNET_V1 = DataSetFacts(
    name="bigearthnet_v1",
    image_size=120,
    classes=43,
    label_sets={"43": LABELS_43, "19": LABELS_19, "farmland": FARMLAND_CLASSES},
    label_rules={"43": BIGEARTHNET_RULES_43, "19": BIGEARTHNET_RULES_19, "farmland": {"farmland": ("farmland",)}},
    multi_label=True,
    published_sizes={"train": 109_830, "test": 36_610},
    sizes_note="the thesis' quarter; all 590,326 with --splits random, 519,284 with --splits official",
    source="BigEarthNet-S2 v1.0 (bigearth.net)",
    licence="CDLA-Permissive-1.0; contains modified Copernicus Sentinel data",
    recipe={"coarse bands": "those of 20 and 60 m are repeated to 120 x 120"},
    bands=PATCH_BANDS,
    default_bands=RGB_BANDS,
    pixels=SENTINEL_PIXELS,
    splits=("thesis", "official", "random", "place"),
    exclusions=("snow", "cloud"),
    test_share=0.25,
    thesis_share=0.18,
    pixel_metres=10.0,
    layout="BigEarthNet-S2-v1.0.tar.gz, or its folder: <patch>/<patch>_B02.tif, ... and _labels_metadata.json",
    archive=PublishedFile(
        "https://bigearth.net/downloads/BigEarthNet-S2-v1.0.tar.gz", None, "5a64e9ce38deb036a435a7b59494924c"
    ),
    lists=(
        PublishedFile(f"{V1_SPLITS}/train.csv?inline=false", md5="623e501b38ab7b12fe44f0083c00986d"),
        PublishedFile(f"{V1_SPLITS}/val.csv?inline=false", md5="22efe8ed9cbd71fa10742ff7df2b7978"),
        PublishedFile(f"{V1_SPLITS}/test.csv?inline=false", md5="697fb90677e30571b9ac7699b7e5b432"),
        PublishedFile(f"{V1_SITE}/patches_with_seasonal_snow.csv", 2_065_439, "7219803bde2ab2925ded75c5109450f5"),
        PublishedFile(f"{V1_SITE}/patches_with_cloud_and_shadow.csv", 313_331, "7388ec3bee2d519846f01ecb9f95cc4d"),
    ),
)

# Neither version has baseline 04.00's offset of 1000: v1.0 is older; v2.0, corrected anew with sen2cor 2.11 (arXiv
# 2407.03653, github.com/kai-tub/bigearthnet-pipeline), has values from 1 over dark ground.
BIGEARTHNET_V2 = DataSetFacts(
    name="bigearthnet_v2",
    image_size=120,
    classes=19,
    label_sets={"19": LABELS_19, "farmland": FARMLAND_CLASSES},
    label_rules={"19": BIGEARTHNET_RULES_19, "farmland": {"farmland": ("farmland",)}},
    multi_label=True,
    published_sizes={"train": 237_871, "validation": 122_342, "test": 119_825},
    sizes_note="exact: the official splits; 549,488 with snow, cloud and shadow and --splits random",
    source="BigEarthNet-S2 v2.0, reBEN (zenodo.org/records/10891137)",
    licence="CDLA-Permissive-1.0; contains modified Copernicus Sentinel data",
    recipe={"coarse bands": "those of 20 and 60 m are repeated to 120 x 120"},
    bands=PATCH_BANDS,
    default_bands=RGB_BANDS,
    pixels=SENTINEL_PIXELS,
    splits=("official", "random", "place"),
    exclusions=("snow", "cloud"),
    test_share=0.25,
    thesis_share=0.18,
    pixel_metres=10.0,
    layout="BigEarthNet-S2.tar.zst, or the folder that holds BigEarthNet-S2/<tile>/<patch>/<patch>_B02.tif, ...; "
    "metadata.parquet beside it",
    archive=PublishedFile(f"{V2_RECORD}/BigEarthNet-S2.tar.zst", 63_251_710_377, "2245ed2d1a93f6ce637d839bc856396e"),
    lists=(
        PublishedFile(f"{V2_RECORD}/metadata.parquet", 3_616_349, "55687065e77b6d0b0f1ff604a6e7b49c"),
        PublishedFile(
            f"{V2_RECORD}/metadata_for_patches_with_snow_cloud_or_shadow.parquet",
            710_162,
            "fe31856f4986d446c9468b59d6387c91",
        ),
    ),
)

EUROSAT_SITE = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/1ce6f1bfb56db63fd91b6ecc466ea67f2509774c"
EUROSAT_LISTS = tuple(
    PublishedFile(f"{EUROSAT_SITE}/eurosat-spatial-{part}.txt", None, md5)
    for part, md5 in (
        ("train", "7be3254be39f23ce4d4d144290c93292"),
        ("val", "acf392290050bb3df790dc8fc0ebf193"),
        ("test", "5ec1733f9c16116bf0aa2d921fc613ef"),
    )
)
"""Lists of the spatial split, of 60, 20 and 20 % by longitude (torchgeo.datasets.EuroSATSpatial)."""

EUROSAT = DataSetFacts(
    name="eurosat",
    image_size=64,
    classes=10,
    label_sets={"eurosat": EUROSAT_CLASSES},
    label_rules={"eurosat": {"farmland": ("AnnualCrop", "PermanentCrop", "Pasture")}},
    multi_label=False,
    published_sizes={"train": 21_600, "test": 5_400},
    sizes_note="exact: a fifth of each class of the 27,000 published images",
    source="EuroSAT RGB (github.com/phelber/EuroSAT)",
    licence="MIT",
    test_share=0.2,
    splits=("exact", "random", "spatial"),
    recipe={"values": "JPEG as decoded"},
    pixel_metres=10.0,
    layout="EuroSAT.zip, or a folder for each of the ten classes with <Class>_<i>.jpg (2750/ in the archive)",
    archive=PublishedFile(
        "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
        None,
        "c8fa014336c82ac7804f0398fcb19387",
    ),
    lists=EUROSAT_LISTS,
)

EUROSAT_MS = DataSetFacts(
    name="eurosat_ms",
    image_size=64,
    classes=10,
    label_sets=EUROSAT.label_sets,
    label_rules=EUROSAT.label_rules,
    multi_label=False,
    published_sizes=EUROSAT.published_sizes,
    sizes_note=EUROSAT.sizes_note,
    source="EuroSAT MS, 13 bands (github.com/phelber/EuroSAT)",
    licence="MIT",
    test_share=0.2,
    splits=("exact", "random", "spatial", "longitude"),
    recipe={},
    bands=EUROSAT_BANDS,
    default_bands=RGB_BANDS,
    pixels=SENTINEL_PIXELS,
    pixel_metres=10.0,
    layout="EuroSATallBands.zip or EuroSAT_MS.zip, or a folder for each of the ten classes with <Class>_<i>.tif",
    archive=PublishedFile(
        f"{EUROSAT_SITE}/EuroSATallBands.zip",
        2_067_725_275,
        "5ac12b3b2557aa56e1826e981e8e200e",
    ),
    lists=EUROSAT_LISTS,
)

FOLDER = DataSetFacts(
    name="folder",
    image_size=None,
    classes=0,
    multi_label=False,
    published_sizes={},
    sizes_note="",
    source="images of your own",
    licence="yours",
    test_share=0.2,
    splits=("own", "random", "place"),
    recipe={},
    pixels=("none", "percentiles", "thesis", "reflectance"),
    layout="a folder (or zip) of class folders, or of images without labels, or --table FILE with the columns path, "
    "label (split, place)",
)

PARQUET = replace(
    FOLDER,
    name="parquet",
    source="Parquet files with a column of images (bytes) and one of labels, as on the Hugging Face hub",
    licence="see where they come from",
    layout="a Parquet file, or the folder that holds them (train-00000-of-00001.parquet, ...)",
)

SCENES = replace(
    FOLDER,
    name="scenes",
    source="satellite scenes of your own, cut into chips",
    splits=("block", "tile", "longitude", "random"),
    bands=SENTINEL_2_BANDS,
    pixels=SENTINEL_PIXELS,
    layout="a folder of Sentinel-2 products (.SAFE), Landsat or HLS scenes, GeoTIFFs, or bands (*_B04.tif, ...)",
)

KNOWN: dict[str, DataSetFacts] = {
    facts.name: facts
    for facts in (DIGITS, TINY_IMAGENET, BIGEARTHNET_V1, BIGEARTHNET_V2, EUROSAT, EUROSAT_MS, FOLDER, PARQUET, SCENES)
}
OWN_FILES = (FOLDER.name, PARQUET.name, SCENES.name)
"""Readers of a user's own files, which aren't names of data sets."""
