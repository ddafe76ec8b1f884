"""Model class that MLflow serves: images in, a table of probabilities and labels, or of numbers, out.

MLflow copies this file into the model and runs it without this project: it may import only numpy, pandas, onnxruntime
and mlflow.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

HALF = 0.5


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Model of images (N, H, W, C), sized as in model.json; one row each: label and probabilities, or its number."""

    def load_context(self, context: Any) -> None:
        """Open the ONNX model."""
        import onnxruntime

        self.facts = json.loads(Path(context.artifacts["facts"]).read_text())
        self.session = onnxruntime.InferenceSession(context.artifacts["onnx"], providers=["CPUExecutionProvider"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Return the table of labels and probabilities; if multi-label, `label` is a JSON list of those above 0.5.

        There are no type hints, since MLflow would take them for a schema, which can't describe arrays; the model's
        signature does.
        """
        images = np.asarray(model_input, dtype=self.facts["dtype"])
        if self.facts.get("number") is not None:
            numbers = self.session.run(["numbers"], {"images": images})[0].astype(np.float64)
            return pd.DataFrame({"predicted": numbers[:, 0]})
        probabilities = self.session.run(["probabilities"], {"images": images})[0].astype(np.float64)
        classes = self.facts["classes"]
        if self.facts["several_labels"]:
            labels = [json.dumps([classes[k] for k in np.flatnonzero(row >= HALF)]) for row in probabilities]
        else:
            labels = [classes[k] for k in probabilities.argmax(axis=1)]
        return pd.DataFrame({"label": labels, **{name: probabilities[:, k] for k, name in enumerate(classes)}})


mlflow.models.set_model(ImageClassifier())
