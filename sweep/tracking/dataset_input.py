"""Data set input of an MLflow run: a prepared image store. Importing this module imports MLflow."""

import json
from typing import Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag

from trainables.data.store_info import StoreInfo

DIGEST_LENGTH = 36
"""Maximum characters of a digest in MLflow."""


class StoreSource(DatasetSource):  # type: ignore[misc]
    """Source of a store's images, and the recipe of their preparation."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description

    @staticmethod
    def _get_source_type() -> str:
        return "image_store"

    def load(self) -> Any:
        """Raise an error: images are prepared on each machine, not fetched from MLflow."""
        raise NotImplementedError(f"prepare the data set: python -m sweep.data prepare {self.description['data_set']}")

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "StoreSource":
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the source as a dictionary."""
        return self.description

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "StoreSource":
        """Return the source from its dictionary."""
        return cls(dict(source_dict))


class StoreDataset(MetaDataset):  # type: ignore[misc]
    """MLflow data set of a store: its name, digest, source and sizes."""

    def __init__(self, info: StoreInfo) -> None:
        self.info = info
        source = StoreSource({"data_set": info.data_set, "source": info.source, "options": info.options})
        super().__init__(source, name=info.name, digest=info.fingerprint[:DIGEST_LENGTH])

    @property
    def profile(self) -> dict[str, Any]:
        """Return the counts of images, splits and classes."""
        info = self.info
        return {
            "num_rows": info.images,
            "splits": info.splits,
            "classes": len(info.class_names),
            "labelled": info.labelled_images,
            "image_size": list(info.image_size),
        }

    def to_dict(self) -> dict[str, str]:
        """Return the fields that MLflow stores."""
        return {**super().to_dict(), "profile": json.dumps(self.profile)}


def dataset_input(info: StoreInfo, context: str) -> DatasetInput:
    """Return the store as a data set input of a run, for training or evaluation."""
    return DatasetInput(StoreDataset(info)._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
