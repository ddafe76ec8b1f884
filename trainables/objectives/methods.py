"""Choice of a trial's training method; each method is one file in this folder."""

from torch import nn

from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.objectives.contrastive import ContrastiveObjective
from trainables.objectives.objective import TrainingObjective
from trainables.objectives.supervised import SupervisedObjective


def objective_of(config: TrialConfig, data: TrialData, normalise: nn.Module | None) -> TrainingObjective:
    """Return the training objective of a configuration, with an initialised model on the CPU."""
    kind = SupervisedObjective if config.training == "supervised" else ContrastiveObjective
    return kind(config, data, normalise)
