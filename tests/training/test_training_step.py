"""The loss and the step of a trial against formulas."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables.augment.views import two_views
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.losses import contrast
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import TrialTrainer

BATCH = 12
DIGITS = TrialConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 16,
    projector_output_width=16,
    batch_size=BATCH,
    epochs=3,
    warmup_epochs=1,
    weight_decay=0.25,
    max_train_images=50,
    max_test_images=31,
)


def trial(store: ImageStore, **changes: Any) -> TrialTrainer:
    config, files = DIGITS.model_copy(update=changes), TrialFiles(Storage.at(Path("unused")))
    return TrialTrainer(config, store=store, files=files, device=torch.device("cpu"))


def gradients(store: ImageStore, **changes: Any) -> dict[str, Tensor]:
    """Return the gradients of the first step, before the optimiser adds to them."""
    one = trial(store, **changes)
    one._step(0, 0.0)
    found = {name: weight.grad for name, weight in one.model.named_parameters() if weight.grad is not None}
    assert len(found) == len(list(one.model.parameters()))
    return found


def test_loss_is_the_sum_of_its_parts_and_the_probes_is_over_both_views(store: ImageStore) -> None:
    """2N rows with the labels repeated, for the loss and the accuracy; half the squared norm of the kernel alone."""
    one = trial(store, loss_factor=3.0)
    with torch.no_grad():
        one.model.probe.weight.normal_(generator=torch.Generator().manual_seed(0))
        one.model.probe.bias.fill_(7.0)
    images, targets, draws, _ = one._batch(0)
    outputs = one.model(torch.cat(two_views(images, draws, image_size=20)))
    loss, metrics = one.objective.loss(outputs, targets, None)
    losses, right = [], []
    for row, logits in enumerate(outputs.logits.tolist()):
        label = int(targets[row % BATCH])
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
        right.append(logits.index(max(logits)) == label)
    assert sum(right[:BATCH]) != sum(right[BATCH:])
    both = contrast(outputs.embeddings[:BATCH], outputs.embeddings[BATCH:], temperature=0.25)
    supervised, accuracy = sum(losses) / (2 * BATCH), sum(right) / (2 * BATCH)
    expected = [*(value.item() for value in both), supervised, accuracy]
    assert metrics.tolist() == pytest.approx(expected, rel=1e-5)
    squares = sum(weight**2 for weight in one.model.probe.weight.flatten().tolist())
    assert loss.item() == pytest.approx(3.0 * expected[0] + supervised + 0.5 * 0.25 * squares, rel=1e-5)
    assert one._step(0, 0.0).tolist() == pytest.approx(expected, rel=1e-5)


def test_loss_factor_scales_the_contrastive_gradient_and_nothing_else(store: ImageStore) -> None:
    """Powers of two, so to the last bit."""
    plain = gradients(store, loss_factor=1.0)
    for factor in (2.0, 0.25):
        scaled = gradients(store, loss_factor=factor)
        for name, gradient in plain.items():
            expected = gradient if name.startswith("probe.") else factor * gradient
            assert torch.equal(scaled[name], expected), name
    assert plain["encoder.conv1.weight"].any()
    assert plain["projector.0.weight"].any()


def test_weight_decay_enters_the_loss_through_the_probes_kernel_alone(store: ImageStore) -> None:
    without, decayed = gradients(store, weight_decay=0.0), gradients(store, weight_decay=0.25)
    kernel = trial(store).model.probe.weight.detach()
    torch.testing.assert_close(decayed.pop("probe.weight") - without["probe.weight"], 0.25 * kernel, rtol=0, atol=1e-6)
    for name, gradient in decayed.items():
        assert torch.equal(gradient, without[name]), name


def test_steps_of_a_trial_decay_and_adapt_kernels_outside_the_probe_alone(store: ImageStore) -> None:
    """The probe's own decay is in its gradient by now; everything else of it follows the whole learning rate."""
    one = trial(store, momentum=0.5, trust_coefficient=0.01)
    velocities = {name: torch.zeros_like(weight) for name, weight in one.model.named_parameters()}
    for step, rate in enumerate((0.5, 0.25)):
        before = {name: weight.detach().clone() for name, weight in one.model.named_parameters()}
        one._step(step, rate)
        for name, weight in one.model.named_parameters():
            gradient, old = weight.grad, before[name]
            assert gradient is not None
            if weight.dim() > 1 and not name.startswith("probe."):
                gradient = gradient + 0.25 * old
                gradient = 0.01 * old.norm() / gradient.norm() * gradient
            velocities[name] = 0.5 * velocities[name] + rate * gradient
            torch.testing.assert_close(weight.detach(), old - velocities[name], rtol=1e-5, atol=1e-7, msg=name)


def test_learning_rate_of_a_trial_follows_its_configuration(store: ImageStore) -> None:
    one = trial(store, base_learning_rate=0.2, learning_rate_scaling="sqrt")
    peak, warmup, total = 0.2 * math.sqrt(BATCH), 50 // BATCH, 50 * 3 // BATCH + 1
    found = [one._learning_rate(step) for step in range(total)]
    rise = [peak * step / warmup for step in range(warmup)]
    fall = [peak * (0.5 + 0.5 * math.cos(math.pi * step / (total - warmup))) for step in range(total - warmup)]
    assert found == pytest.approx(rise + fall, rel=1e-9)
    assert trial(store, base_learning_rate=0.2)._learning_rate(warmup) == pytest.approx(0.2 * BATCH / 256)
