"""Catalogue of published ResNet encoders: addresses, inputs and licences.

Addresses, bands and normalisation are those of torchvision's and TorchGeo's weights. Both publish only the first digits
of a file's SHA-256, in its name; downloads are checked against these.
"""

from dataclasses import dataclass
from typing import Literal

SENTINEL_2_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
RGB = ("B04", "B03", "B02")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class CatalogEntry:
    """Published encoder."""

    name: str
    url: str
    digest_prefix: str
    """First digits of the file's SHA-256, from its name."""
    encoder: str
    bands: tuple[str, ...]
    """Bands in the order of the stem's inputs."""
    scale: Literal["picture", "reflectance"]
    """Meaning of the value 1 before normalisation: the maximum of 8 bits, or a reflectance of 1."""
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    """Standard deviation of each band, in units of `scale`."""
    licence: str
    source: str
    note: str = ""
    limits: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Lowest and highest value of each band, in units of `scale`, to which values are clamped; None: they aren't."""

    @property
    def file_name(self) -> str:
        """Name of the file, in its address and in the catalogue's folder."""
        return self.url.rpartition("/")[2]


def _imagenet(name: str, file: str, encoder: str) -> CatalogEntry:
    return CatalogEntry(
        name=name,
        url=f"https://download.pytorch.org/models/{file}",
        digest_prefix=file.rpartition("-")[2].removesuffix(".pth"),
        encoder=encoder,
        bands=("red", "green", "blue"),
        scale="picture",
        mean=IMAGENET[0],
        deviation=IMAGENET[1],
        licence="BSD-3-Clause (torchvision); trained on ImageNet, whose terms are for research",
        source="torchvision.models, ImageNet-1k, supervised",
    )


def _torchgeo(
    name: str,
    path: str,
    encoder: str,
    bands: tuple[str, ...],
    source: str,
    *,
    scale: Literal["picture", "reflectance"] = "reflectance",
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    limits: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    licence: str,
    note: str = "",
) -> CatalogEntry:
    plain = ((0.0,) * len(bands), (1.0,) * len(bands))
    mean, deviation = normalisation or plain
    return CatalogEntry(
        name=name,
        url=f"https://hf.co/torchgeo/{path}",
        digest_prefix=path.rpartition("-")[2].removesuffix(".pth"),
        encoder=encoder,
        bands=bands,
        scale=scale,
        mean=mean,
        deviation=deviation,
        licence=licence,
        source=source,
        note=note,
        limits=limits,
    )


SECO_QUANTILES = ((0.0, 2 / 255, 3 / 255), (129 / 255, 103 / 255, 88 / 255))
"""Quantiles of red, green and blue in reflectance that become 0 and 1, with 255 for 10,000 digital numbers."""


def _seco() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return SeCo's normalisation in reflectance: from each band's quantiles to [0, 1], then ImageNet's."""
    parts = list(zip(*SECO_QUANTILES, *IMAGENET, strict=True))
    mean = tuple(own * (last - first) + first for first, last, own, _ in parts)
    return mean, tuple(own * (last - first) for first, last, _, own in parts)


SSL4EO = "SSL4EO-S12, Sentinel-2 level 1C (arXiv 2211.07044, github.com/zhu-xlab/SSL4EO-S12)"
CC_BY = "CC BY 4.0 (huggingface.co/wangyi111/SSL4EO-S12)"
APACHE = "Apache 2.0 (model card at huggingface.co/torchgeo)"
ODC_BY = "ODC-BY (github.com/allenai/satlas, SatlasPretrain.md)"
SECO = "Seasonal Contrast, Sentinel-2 level 2A (arXiv 2103.16607, github.com/ServiceNow/seasonal-contrast)"
SATLAS = "SatlasPretrain (arXiv 2211.15660, github.com/allenai/satlaspretrain_models)"
SATLAS_REFLECTANCE = (*(0.3558,) * 3, *(0.816,) * 6)
"""Reflectance that becomes 1: the white of level 1C's true-colour images (ESA), and 8,160 digital numbers elsewhere."""
COMMIT = {
    "moco18": "resnet18_sentinel2_all_moco/resolve/5b8cddc9a14f3844350b7f40b85bcd32aed75918/",
    "moco18rgb": "resnet18_sentinel2_rgb_moco/resolve/e1c032e7785fd0625224cdb6699aa138bb304eec/",
    "moco50": "resnet50_sentinel2_all_moco/resolve/da4f3c9dbe09272eb902f3b37f46635fa4726879/",
    "moco50rgb": "resnet50_sentinel2_rgb_moco/resolve/efd9723b59a88e9dc1420dc1e96afb25b0630a3c/",
    "dino50": "resnet50_sentinel2_all_dino/resolve/d7f14bf5530d70ac69d763e58e77e44dbecfec7c/",
    "seco18": "resnet18_sentinel2_rgb_seco/resolve/f8dcee692cf7142163b55a5c197d981fe0e717a0/",
    "seco50": "resnet50_sentinel2_rgb_seco/resolve/fbd07b02a8edb8fc1035f7957160deed4321c145/",
    "satlas": "satlas/resolve/081d6607431bf36bdb59c223777cbb267131b8f2/",
}
_ENTRIES = (
    _imagenet("imagenet_resnet18", "resnet18-f37072fd.pth", "resnet18"),
    _imagenet("imagenet_resnet34", "resnet34-b627a593.pth", "resnet34"),
    _imagenet("imagenet_resnet50", "resnet50-0676ba61.pth", "resnet50"),
    _imagenet("imagenet_resnet50_v2", "resnet50-11ad3fa6.pth", "resnet50"),
    _torchgeo(
        "ssl4eo_moco_resnet18",
        COMMIT["moco18"] + "resnet18_sentinel2_all_moco-59bfdff9.pth",
        "resnet18",
        SENTINEL_2_ORDER,
        SSL4EO,
        licence=CC_BY,
    ),
    _torchgeo(
        "ssl4eo_moco_resnet18_rgb",
        COMMIT["moco18rgb"] + "resnet18_sentinel2_rgb_moco-e3a335e3.pth",
        "resnet18",
        RGB,
        SSL4EO,
        licence=CC_BY,
    ),
    _torchgeo(
        "ssl4eo_moco_resnet50",
        COMMIT["moco50"] + "resnet50_sentinel2_all_moco-df8b932e.pth",
        "resnet50",
        SENTINEL_2_ORDER,
        SSL4EO,
        licence=CC_BY,
    ),
    _torchgeo(
        "ssl4eo_moco_resnet50_rgb",
        COMMIT["moco50rgb"] + "resnet50_sentinel2_rgb_moco-2b57ba8b.pth",
        "resnet50",
        RGB,
        SSL4EO,
        licence=CC_BY,
    ),
    _torchgeo(
        "ssl4eo_dino_resnet50",
        COMMIT["dino50"] + "resnet50_sentinel2_all_dino-d6c330e9.pth",
        "resnet50",
        SENTINEL_2_ORDER,
        SSL4EO,
        licence=CC_BY,
    ),
    _torchgeo(
        "seco_resnet18_rgb",
        COMMIT["seco18"] + "resnet18_sentinel2_rgb_seco-cefca942.pth",
        "resnet18",
        RGB,
        SECO,
        normalisation=_seco(),
        limits=SECO_QUANTILES,
        licence=APACHE,
    ),
    _torchgeo(
        "seco_resnet50_rgb",
        COMMIT["seco50"] + "resnet50_sentinel2_rgb_seco-018bf397.pth",
        "resnet50",
        RGB,
        SECO,
        normalisation=_seco(),
        limits=SECO_QUANTILES,
        licence=APACHE,
    ),
    _torchgeo(
        "satlas_resnet50_rgb",
        COMMIT["satlas"] + "sentinel2_resnet50_si_rgb-45fc6972.pth",
        "resnet50",
        RGB,
        SATLAS,
        scale="picture",
        licence=ODC_BY,
        note="trained on Sentinel-2's true-colour images (TCI) of 8 bits, level 1C",
    ),
    _torchgeo(
        "satlas_resnet50",
        COMMIT["satlas"] + "sentinel2_resnet50_si_ms-1f454cc6.pth",
        "resnet50",
        (*RGB, "B05", "B06", "B07", "B08", "B11", "B12"),
        SATLAS,
        normalisation=((0.0,) * 9, SATLAS_REFLECTANCE),
        licence=ODC_BY,
        limits=((0.0,) * 9, SATLAS_REFLECTANCE),
        note="trained on level 1C, red, green and blue as in its true-colour images (TCI)",
    ),
)
CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}
