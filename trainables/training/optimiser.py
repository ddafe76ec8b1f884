"""Optimiser of a configuration, with the reference's parameter groups (which are decayed and adapted)."""

from typing import Any

import torch
from torch.optim import Optimizer

from trainables.config import TrialConfig
from trainables.lars import LARS

ADAM_BETA2 = 0.999


def make_optimiser(config: TrialConfig, groups: list[dict[str, Any]]) -> Optimizer:
    """Return the optimiser of the groups (params, weight_decay, adapt); set its learning rate before each step."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, foreach=True)
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=(config.momentum, ADAM_BETA2), foreach=True)
    return LARS(groups, lr=0.0, momentum=config.momentum, eeta=config.trust_coefficient)
