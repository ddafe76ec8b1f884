"""How many images a store has of each split, class and rule, counted while its rows pass."""

from typing import Any

import numpy as np

from trainables.data.rows import SPLITS, multi_hot


class Tally:
    """Counts over the record batches given to `add`, by split: images, images of each class and of each rule."""

    def __init__(self, class_names: tuple[str, ...], rules: dict[str, tuple[str, ...]]) -> None:
        self._columns = {rule: [class_names.index(name) for name in names] for rule, names in rules.items()}
        self._classes = {split: np.zeros(len(class_names), dtype=np.int64) for split in SPLITS}
        self.splits = dict.fromkeys(SPLITS, 0)
        self.rule_counts = {rule: dict.fromkeys(SPLITS, 0) for rule in rules}

    @property
    def images(self) -> int:
        """Images counted so far."""
        return sum(self.splits.values())

    @property
    def class_counts(self) -> dict[str, tuple[int, ...]]:
        """Images a class, in the order of the class names, for each split."""
        return {split: tuple(counts.tolist()) for split, counts in self._classes.items()}

    def add(self, batch: Any) -> None:
        """Count the rows of one record batch."""
        labels = batch.column("labels")
        hot = multi_hot(labels.offsets.to_numpy(), labels.values.to_numpy(), len(self._classes[SPLITS[0]]))
        codes = batch.column("split").indices.to_numpy()
        for code, split in enumerate(SPLITS):
            rows = hot[codes == code]
            self.splits[split] += len(rows)
            self._classes[split] += rows.sum(axis=0)
            for rule, columns in self._columns.items():
                self.rule_counts[rule][split] += int(rows[:, columns].any(axis=1).sum())
