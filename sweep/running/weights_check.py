"""Check of a plan's initial weights before anything starts: a bad file fails here instead of on a worker."""

from sweep.planning.pinned_weights import named_weights
from sweep.planning.plan import Plan
from trainables.initial_weights import InitialWeights


def check_weights(plan: Plan) -> None:
    """Read all initial weights of a plan, also of later stages; BadInputError names the file and the fault."""
    texts = {trial.config.initial_weights for trial in plan.trials} | set(named_weights(plan.space))
    for text in sorted(text for text in texts if text):
        from trainables.models.pretrained import load_weights  # torch, where a plan has weights

        load_weights(InitialWeights.parse(text))
