"""The plan's arithmetic against the real model, and its estimate of memory against what real steps take."""

import os
from io import StringIO
from typing import Any

import pytest
import torch
from rich.console import Console

from sweep.planning.memory_budget import MemoryBudget, advice
from sweep.planning.plan import make_plan
from sweep.planning.plan_table import print_plan
from sweep.planning.resources import TrialShape, concurrency, shared
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.memory import evaluation_step, training_step
from trainables.memory.evaluation_step import evaluate
from trainables.memory.layer_sizes import footprint
from trainables.memory.ledger import HEAP_SLACK, MAPPED_FROM, MemoryLedger
from trainables.memory.peak import fits, peak_bytes, phases, process_bytes
from trainables.memory.simulated_worker import ImageShape, SimulatedWorker
from trainables.memory.training_step import step
from trainables.models.simclr_model import SimCLR
from trainables.training.precision import autocast

GIB = 2**30
CPU = torch.device("cpu")
IMAGES = ImageShape(classes=10, train=1000, held_out=500)


def config(**fields: Any) -> TrialConfig:
    return TrialConfig.parse({"encoder": "resnet18", "image_size": 64, "batch_size": 64, **fields})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("encoder", "image_size", "width_factor", "layers"),
    [("resnet10", 16, 0.25, 2), ("resnet18", 64, 0.5, 1), ("resnet34", 32, 0.25, 4), ("resnet50", 64, 0.25, 3)],
)
def test_footprint_equals_the_model(
    encoder: str, image_size: int, width_factor: float, layers: int, precision: str
) -> None:
    trial = config(
        encoder=encoder,
        image_size=image_size,
        width_factor=width_factor,
        projector_layers=layers,
        precision=precision,
    )
    model = SimCLR(trial, 7)
    counted = footprint(trial, 7)
    assert counted.parameters == sum(weights.numel() for weights in model.parameters())
    kept: dict[int, int] = {}
    owned = {weights.untyped_storage().data_ptr() for weights in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def give(packed: Any) -> Any:
        return packed

    views = 4
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, give)
    with hooks, autocast(trial.precision, CPU):
        outputs = model(torch.rand(views, 3, image_size, image_size))
    assert outputs.embeddings.requires_grad
    item = 4 if precision == "fp32" else 2
    # The pool's int64 positions are counted as two elements; in bf16 they are four, and weights have copies, too.
    expected = item * views * counted.activations
    if precision == "bf16":
        expected += 2 * sum(layer.weights for layer in counted.layers) + 4 * views * counted.pooled
    assert sum(kept.values()) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "fields", [{}, {"encoder": "resnet50", "precision": "bf16"}, {"stem": "small", "optimiser": "adamw"}]
)
def test_what_a_step_and_an_evaluation_take_they_give_back(
    fields: Any, workers: int, device: Any, recompute: bool
) -> None:
    worker = SimulatedWorker(config(**fields), IMAGES, workers, device, recompute)
    worker.hold_weights()
    held = worker.ledger.live
    copies = 4 if fields.get("optimiser") == "adamw" else 3
    copies += copies - 1 if device == "cpu" else 0  # a checkpoint on its way
    batch_norms = 2 * sum(layer.channels for layer in worker.model.layers)
    assert held == pytest.approx(4 * copies * (worker.model.parameters - batch_norms), rel=1e-3)
    step(worker)
    assert worker.ledger.live == pytest.approx(held)
    evaluate(worker)
    assert worker.ledger.live == pytest.approx(held)


def test_the_heap_keeps_what_it_had_and_mapped_blocks_go() -> None:
    ledger, small, large = MemoryLedger("cpu"), MAPPED_FROM / 2, 2.0 * MAPPED_FROM
    ledger.hold(1000.0)
    ledger.touch(small)
    ledger.touch(large)
    heap = 1000.0 + HEAP_SLACK * small
    assert ledger.end_phase() == heap + large  # at different times, and yet both
    assert ledger.end_phase() == heap
    gpu = MemoryLedger("cuda")
    gpu.touch(small)
    gpu.touch(large)
    assert gpu.end_phase() == large
    assert gpu.end_phase() == gpu.live == 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("encoder", ["resnet10", "resnet50"])
@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"batch_size": 64}, {"batch_size": 128}),
        ({"batch_size": 1024}, {"batch_size": 2048}),
        ({"image_size": 64}, {"image_size": 120}),
        ({"width_factor": 0.5}, {"width_factor": 1.0}),
        ({"stem": "large"}, {"stem": "small"}),
        ({"projector_layers": 1}, {"projector_layers": 4}),
        ({"optimiser": "lars"}, {"optimiser": "adamw"}),
        ({"precision": "bf16", "batch_size": 256}, {"precision": "fp32", "batch_size": 256}),
    ],
)
def test_more_takes_more(less: Any, more: Any, encoder: str, device: Any) -> None:
    small, large = (phases(config(encoder=encoder, **fields), IMAGES, device=device)[0] for fields in (less, more))
    if "optimiser" in less:  # AdamW's second momentum may be less than what LARS makes for a moment
        assert small <= large
    else:
        assert small < large


def test_a_cpu_unfolds_the_inputs_of_convolutions_in_bf16() -> None:
    worker = SimulatedWorker(config(precision="bf16"), IMAGES, 1, "cpu")
    layer = worker.model.blocks[0].layers[0]  # 3x3, 64 to 64 channels, 16 px
    assert training_step._columns(worker, layer) == 2 * 128 * (64 * 9) * 16**2


def test_tf32_takes_what_fp32_takes() -> None:
    assert peak_bytes(config(precision="tf32"), IMAGES) == peak_bytes(config(), IMAGES)


def test_workers_share_a_batch_and_the_largest_slice_counts() -> None:
    one, two, four = (phases(config(batch_size=512), IMAGES, workers=count)[0] for count in (1, 2, 4))
    assert one > two > four
    uneven = phases(config(batch_size=100), IMAGES, workers=3)[0]
    even = phases(config(batch_size=102), IMAGES, workers=3)[0]
    assert uneven == pytest.approx(even, rel=0.01)
    assert uneven > phases(config(batch_size=99), IMAGES, workers=3)[0]


def test_features_of_a_large_data_set_outgrow_the_training() -> None:
    trial = config(encoder="resnet50")
    training, evaluated = phases(trial, ImageShape(train=500_000, held_out=100_000), device="cuda")
    features, products = 500_000 * 2048 * 4, 512 * 500_000 * 4
    assert 1.0 < evaluated / (2 * features + products) < 1.05
    assert evaluated > training


def test_views_of_a_wide_projector_outgrow_the_features() -> None:
    """LiDAR has 8 views of 512 images in float64 twice, and the covariance of 4,096 outputs twice."""
    images = ImageShape(classes=10, train=512, held_out=1000)
    narrow, wide = (
        phases(config(encoder="resnet10", image_size=8, projector_output_width=width), images, device="cuda")[1]
        for width in (16, 4096)
    )
    assert wide > 2 * 512 * 8 * 4096 * 8 + 2 * 4096**2 * 8 > 3 * narrow
    untrained = config(encoder="resnet10", image_size=8, projector_output_width=4096, epochs=0)
    assert phases(untrained, images, device="cuda")[1] < narrow


def test_ridge_regression_takes_products_of_features_in_float64_but_no_features() -> None:
    def evaluated(train: int, **fields: Any) -> float:
        worker = SimulatedWorker(config(encoder="resnet50", **fields), ImageShape(train=train, held_out=1), 1, "cuda")
        evaluation_step._compare_features(worker)
        return worker.ledger.end_phase()

    rows = 4 * 512 * 2048
    assert evaluated(512, target="number") == rows + 2 * 2 * rows + 3 * 8 * 2048**2
    assert evaluated(500_000, target="number") == evaluated(500_000)


def test_a_checkpoint_on_its_way_takes_memory_where_another_epoch_follows() -> None:
    one, two, ten = (phases(config(epochs=epochs), IMAGES) for epochs in (1, 2, 10))
    momenta_and_weights = 2 * 4 * footprint(config(), IMAGES.classes).parameters
    assert two == ten
    for before, after in zip(one, two, strict=True):
        assert 0.98 < (after - before) / momenta_and_weights < 1.02 * HEAP_SLACK
    on_a_gpu = [phases(config(epochs=epochs), IMAGES, device="cuda") for epochs in (1, 2)]
    assert on_a_gpu[0] == on_a_gpu[1]


def test_nothing_is_trained_in_zero_epochs() -> None:
    assert phases(config(encoder="pixels", epochs=0), IMAGES) == (0, 0)
    training, evaluated = phases(config(epochs=0), IMAGES)
    assert training == 0
    assert evaluated > 4 * footprint(config(), 10).parameters


def test_a_plan_estimates_with_what_it_knows_of_the_data() -> None:
    size = DataSize(train=1000, test=300, classes=10, fingerprint="", origin="prepared")
    trial = PlannedTrial(config(validation_fraction=0.4, label_fraction=0.5), size, 1, None)
    assert trial.images == ImageShape(classes=10, train=300, held_out=400)
    assert trial.memory_bytes(2) == peak_bytes(trial.config, trial.images, workers=2)
    other = DataSize(train=50, test=20, classes=3, fingerprint="", origin="prepared")
    elsewhere = PlannedTrial(config(evaluation_dataset="b", max_test_images=8), size, 1, None, other)
    assert elsewhere.images == ImageShape(classes=3, train=50, held_out=8)


def test_a_trial_fits_beside_its_process() -> None:
    for device in ("cpu", "cuda"):
        limit = GIB + process_bytes(device)
        assert fits(GIB, limit, device=device)
        assert not fits(GIB + 1, limit, device=device)


def test_advice_names_what_would_fit_with_its_numbers() -> None:
    trial = config(encoder="resnet50", batch_size=2048)

    def gib(workers: int = 1, *, recompute: bool = True, **fields: Any) -> str:
        changed = trial.model_copy(update=fields)
        return f"{peak_bytes(changed, IMAGES, workers=workers, device='cuda', recompute=recompute) / GIB:.1f} GiB"

    said = advice(trial, 1, 6 * GIB, images=IMAGES, device="cuda")
    assert said == (
        f"estimated {gib()} per worker with activations computed again ({gib(recompute=False)} without) at batch 2048 "
        f"on 1 worker, 6.0 GiB available; what would fit: "
        f"--workers 2: {gib(2)} each; --set precision=bf16: {gib(precision='bf16')}; "
        f"--set batch_size=1024: {gib(batch_size=1024)}"
    )
    assert "bf16" not in advice(trial.model_copy(update={"precision": "bf16"}), 1, 8 * GIB, device="cuda")


def test_advice_where_one_change_is_not_enough() -> None:
    trial = config(encoder="resnet50", batch_size=2048, image_size=120)
    said = advice(trial, 1, int(1.3 * GIB), images=IMAGES, device="cuda")
    assert "--set precision=bf16 --set batch_size=" in said
    assert advice(trial, 1, GIB // 2, images=IMAGES, device="cuda").endswith(
        "nothing up to 64 workers would fit: choose a smaller encoder or smaller images"
    )


def test_advice_where_the_estimate_fits_and_yet_it_failed() -> None:
    trial = config(encoder="resnet50", batch_size=2048)
    said = advice(trial, 1, 80 * GIB, images=IMAGES, device="cuda")
    assert "which should do" in said
    assert "--workers 2: " in said
    unknown = advice(trial, 1, images=IMAGES, device="cuda")
    assert "available" not in unknown
    assert "--workers 2: " in unknown


def test_a_plan_says_what_does_not_fit() -> None:
    size = DataSize(train=5000, test=300, classes=10, fingerprint="", origin="prepared")
    stages = (Stage("grid", (Grid(axes={"batch_size": (64, 4096)}),)),)
    space = SearchSpace("s", "", stages, RankingObjective("test/top1"))
    plan = make_plan(space, assignments={"dataset": ["a"]}, size_of=lambda _: size)
    _, small, large = plan.trials
    memory = MemoryBudget("cuda", available=4 * GIB)
    assert memory.holds(small, 1)
    assert not memory.holds(large, 1)
    with pytest.raises(
        BadInputError, match=rf"^{large.name} does not fit: estimated .* what would fit: .*\n.*--memory"
    ):
        memory.check(plan)
    MemoryBudget("cuda", available=None).check(plan)
    MemoryBudget("cuda", available=4 * GIB, given=2 * GIB).check(plan)
    with pytest.raises(BadInputError, match=r"5.0 GiB per worker as given, 4.0 GiB available"):
        MemoryBudget("cpu", available=4 * GIB, given=5 * GIB).check(plan)
    table = StringIO()
    print_plan(plan, memory, Console(file=table, width=200))
    rows = [line for line in table.getvalue().splitlines() if "does not fit" in line]
    assert len(rows) == 2
    assert "4096" in rows[0]
    assert rows[1].startswith(large.name)


def test_trials_on_a_machine_of_little_memory_come_one_by_one() -> None:
    shape, machine = TrialShape(1, 1, use_gpu=False), {"CPU": 8.0}
    assert concurrency(shape, machine) == 8
    assert concurrency(shape, machine, available=10 * GIB, needed=4 * GIB) == 2
    assert concurrency(shape, machine, available=10 * GIB, needed=11 * GIB) == 1


def test_small_trials_share_a_gpu_as_far_as_its_memory_goes() -> None:
    shape = TrialShape(1, 8, use_gpu=True)
    half = shared(shape, 3 * GIB, 4, 8 * GIB)  # a tenth stays free
    assert (half.gpus, half.threads) == (0.5, 4)
    assert half.worker_resources() == {"CPU": 4.0, "GPU": 0.5}
    assert shared(shape, GIB, 4, 80 * GIB).gpus == 0.25
    assert shared(shape, 7 * GIB, 4, 8 * GIB) == shape
    for alone in (TrialShape(1, 8, use_gpu=False), TrialShape(2, 8, use_gpu=True)):
        assert shared(alone, GIB, 4, 80 * GIB) == alone
    assert concurrency(shape, {"CPU": 16.0, "GPU": 2.0}, share=4) == 8


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are reset through Linux's /proc")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"workers": 2},
        {"encoder": "resnet10", "width_factor": 0.25, "projector_output_width": 4096},
    ],
)
def test_the_estimate_is_within_a_fifth_of_what_is_measured(fields: Any) -> None:
    from benchmarks.rows.peak_memory import RESNET18, measure

    result = measure(RESNET18 | fields, steps=2)
    assert result.estimate == pytest.approx(result.measured, rel=0.2)
