"""Check of a plan's initial weights before anything starts: a bad file fails here instead of on a worker."""

from collections.abc import Callable
from functools import partial

from sweep.console.printing import say
from sweep.planning.pinned_weights import named_weights
from sweep.planning.plan import Plan
from trainables.config import TrialConfig
from trainables.data.bands import EncoderInputs
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError
from trainables.weights.initial_weights import InitialWeights


def check_weights(plan: Plan, *, begun: bool = False) -> None:
    """Read all initial weights of a plan, also of later stages; BadInputError names the file and the fault.

    Args:
        plan: Plan whose weights are read.
        begun: Whether the sweep has a record; trials whose encoder differs from their weights' then fail by themselves.
    """
    configs: dict[str, list[TrialConfig]] = {text: [] for text in named_weights(plan.space)}
    for trial in plan.trials:
        if trial.config.initial_weights:
            configs.setdefault(trial.config.initial_weights, []).append(trial.config)
    for text, own in sorted(configs.items()):
        _check(InitialWeights.parse(text), [] if begun else own)


def _check(initial: InitialWeights, configs: list[TrialConfig]) -> None:
    import torch  # here, as most plans have no weights

    from trainables.data.sources.source import some_names
    from trainables.models.band_weights import fitted_to_bands
    from trainables.models.pretrained import FIRST, check_fit, load_weights, unused_names
    from trainables.models.simclr_model import make_encoder

    weights, stated = load_weights(initial)
    if unused := unused_names(weights):
        say(f"initial_weights: {initial.address}: not used: {some_names(unused)}", error=True)
    shapes = {(one.encoder, one.width_factor, one.small_stem): one for one in configs}
    for config in shapes.values():
        with torch.device("meta"):  # shapes alone
            check_fit(make_encoder(config, channels=weights[FIRST].shape[1]), weights, initial.address)
    fits = partial(fitted_to_bands, weights, initial, stated=stated)
    _check_data(initial, fits, configs)


def _check_data(initial: InitialWeights, fits: Callable[[EncoderInputs], object], configs: list[TrialConfig]) -> None:
    """Raise BadInputError that lists the prepared data sets whose bands or values the weights don't fit."""
    faults: dict[str, None] = {}
    infos = {name: StoreInfo.read(name) for name in {config.dataset for config in configs}}
    for name, bands in dict.fromkeys((config.dataset, config.bands) for config in configs):
        if (info := infos[name]) is not None:
            try:
                fits(info.with_bands(bands).inputs)
            except BadInputError as error:
                faults |= dict.fromkeys(str(error).splitlines())
    if faults:
        raise BadInputError(*faults)
    if initial.entry is not None and any(_asks_normalisation(config, infos[config.dataset]) for config in configs):
        say(f"initial_weights: {initial.address} brings its normalisation; normalisation=train isn't used", error=True)


def _asks_normalisation(config: TrialConfig, info: StoreInfo | None) -> bool:
    """Whether a normalisation by channel was asked for: beyond three bands it is the default."""
    return info is not None and config.normalisation == "train" and len(config.bands or info.channel_bands) <= 3
