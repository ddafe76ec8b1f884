"""A configuration is a value: thesis defaults, one clear line a fault, one spelling, one id."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from trainables.config import PROTOCOL_VERSION, SimCLRConfig, TrialConfig
from trainables.errors import BadInputError
from trainables.fields.overrides import parse_assignments

OTHER_VALUES: dict[str, Any] = {
    "evaluation_dataset": "eurosat",
    "label_fraction": 0.1,
    "probe_class_weight": "balanced",
    "probe_sampling": "balanced",
    "wanted_specificity": 0.95,
    "dataset": "digits",
    "image_size": 120,
    "target": "positive",
    "positive": ("farmland",),
    "validation_fraction": 0.1,
    "max_train_images": 100,
    "max_test_images": 100,
    "encoder": "resnet18",
    "width_factor": 0.5,
    "stem": "small",
    "normalisation": "train",
    "calibrate_batch_norm": True,
    "projector_layers": 2,
    "projector_hidden_width": 64,
    "projector_output_width": 64,
    "temperature": 0.5,
    "loss_factor": 1.0,
    "batch_size": 1024,
    "epochs": 100,
    "optimiser": "sgd",
    "base_learning_rate": 0.3,
    "learning_rate_scaling": "sqrt",
    "warmup_epochs": 5.0,
    "momentum": 0.8,
    "trust_coefficient": 0.002,
    "weight_decay": 1e-4,
    "crop_area": (0.2, 1.0),
    "crop_aspect": (0.5, 2.0),
    "crop_rule": "torchvision",
    "flip_probability": 0.0,
    "vertical_flip_probability": 0.5,
    "rotation_probability": 0.75,
    "jitter_probability": 0.5,
    "jitter_operations": ("brightness", "contrast", "saturation"),
    "jitter_strength": 0.5,
    "grayscale_probability": 0.1,
    "jitter_per": "band",
    "bands": ("B08",),
    "band_drop_probability": 0.1,
    "blur_probability": 0.0,
    "blur_sigma": (0.1, 1.0),
    "blur_sigma_per": "image",
    "precision": "bf16",
    "seed": 1,
    "knn_neighbours": 5,
    "knn_temperature": 0.1,
    "knn_every": 1,
    "linear_regularisation": 1e-3,
    "training": "supervised",
    "pairs": "season",
    "initial_weights": "w.pt",
    "label_draw": 3,
    "knn_also": (200,),
    "linear_candidates": (1e-3, 1e-2),
}
OFF: dict[str, Any] = {"calibrate_batch_norm": False, "training": "simclr"}
"""What goes with none of the others."""

LATER: dict[str, Any] = {"pairs": "image", "bands": (), "jitter_per": "image", "band_drop_probability": 0.0}
"""Fields that came after ids were noted, at their defaults."""

FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 0.0}, "temperature: must be greater than 0, got 0.0"),
    ({"temperature": float("nan")}, "temperature: must be a finite number, got nan"),
    ({"temperature": "warm"}, "temperature: must be a valid number, unable to parse string as a number, got 'warm'"),
    ({"batch_size": 1}, "batch_size: must be greater than or equal to 2, got 1"),
    ({"batch_size": 2.5}, "batch_size: must be a valid integer, got a number with a fractional part, got 2.5"),
    ({"epochs": -1}, "epochs: must be greater than or equal to 0, got -1"),
    ({"projector_layers": 5}, "projector_layers: must be less than or equal to 4, got 5"),
    ({"dataset": 5}, "dataset: must be a valid string, got 5"),
    (
        {"encoder": "vgg"},
        "encoder: must be 'resnet10', 'resnet18', 'resnet34', 'resnet50', 'pixels', 'colours' or 'random_features', "
        "got 'vgg'",
    ),
    ({"flip_probability": 1.5}, "flip_probability: must be less than or equal to 1, got 1.5"),
    ({"validation_fraction": 1.0}, "validation_fraction: must be less than 1, got 1.0"),
    ({"momentum": 1.0}, "momentum: must be less than 1, got 1.0"),
    ({"crop_area": (1.0, 0.08)}, "crop_area: must be 0 < smallest <= largest, got 1.0, 0.08"),
    ({"crop_area": (0.08, 1.5)}, "crop_area: largest must be <= 1, got 1.5"),
    ({"crop_aspect": (0.0, 1.0)}, "crop_aspect: must be 0 < smallest <= largest, got 0.0, 1.0"),
    ({"blur_sigma": (2.0, 0.1)}, "blur_sigma: must be 0 < smallest <= largest, got 2.0, 0.1"),
    ({"jitter_operations": ("hue", "hue")}, "jitter_operations: each at most once, got hue, hue"),
    ({"jitter_operations": ("sharpness",)}, "jitter_operations.0: must be 'brightness', 'contrast', 'saturation' or"),
    ({"calibrate_batch_norm": True}, "calibrate_batch_norm: is for an untrained ResNet; set it to false, or epochs to"),
    ({"encoder": "pixels"}, "encoder: 'pixels' has nothing to train and needs epochs 0, got epochs 50"),
    ({"training": "supervised", "epochs": 0}, "training: 'supervised' needs epochs, and no evaluation_dataset"),
    ({"initial_weights": "#name=a"}, "initial_weights: must name a file, got '#name=a'"),
    ({"initial_weights": "w.pt", "encoder": "pixels", "epochs": 0}, "initial_weights: encoder 'pixels' has none"),
    ({"target": "positive"}, "positive: target 'positive' needs the classes or the rule that count as positive, got"),
    ({"colour": 1}, "colour: unknown field; known fields: dataset, evaluation_dataset, bands, image_size, "),
]


def test_defaults_are_the_thesis_protocol() -> None:
    """The thesis' numbers, and the reference's where it is silent (docs of the config name which).

    Ids leave out what is at its default, so a default that changes needs another PROTOCOL_VERSION too.
    """
    assert PROTOCOL_VERSION == 2
    config = TrialConfig()
    expected = {
        "evaluation_dataset": None,
        "label_fraction": 1.0,
        "label_draw": 0,
        "training": "simclr",
        "pairs": "image",
        "initial_weights": None,
        "probe_class_weight": "none",
        "probe_sampling": "all",
        "wanted_specificity": None,
        "image_size": 64,
        "encoder": "resnet50",
        "width_factor": 1.0,
        "projector_layers": 3,
        "projector_hidden_width": None,
        "projector_output_width": 128,
        "temperature": 0.25,
        "loss_factor": 2.0,
        "batch_size": 256,
        "epochs": 50,
        "base_learning_rate": 1.0,
        "learning_rate_scaling": "linear",
        "warmup_epochs": 10.0,
        "momentum": 0.9,
        "trust_coefficient": 0.001,
        "weight_decay": 1e-6,
        "crop_area": (0.08, 1.0),
        "crop_aspect": (3 / 4, 4 / 3),
        "flip_probability": 0.5,
        "jitter_probability": 0.8,
        "jitter_strength": 1.0,
        "grayscale_probability": 0.2,
        "jitter_per": "image",
        "bands": (),
        "band_drop_probability": 0.0,
        "blur_probability": 0.5,
        "blur_sigma": (0.1, 2.0),
        "blur_sigma_per": "batch",
        "validation_fraction": 0.0,
        "precision": "fp32",
        "dataset": "tiny_imagenet",
        "target": "classes",
        "positive": (),
        "max_train_images": None,
        "max_test_images": None,
        "stem": "auto",
        "normalisation": "none",
        "calibrate_batch_norm": False,
        "optimiser": "lars",
        "crop_rule": "tensorflow",
        "vertical_flip_probability": 0.0,
        "rotation_probability": 0.0,
        "jitter_operations": ("brightness", "contrast", "saturation", "hue"),
        "seed": 0,
        "knn_neighbours": 20,
        "knn_also": (),
        "knn_temperature": 0.07,
        "knn_every": 0,
        "linear_regularisation": 1e-4,
        "linear_candidates": (),
    }
    assert {name: getattr(config, name) for name in TrialConfig.model_fields} == expected
    assert not config.small_stem


@pytest.mark.parametrize(("values", "line"), FAULTS, ids=[f"{next(iter(v))}-{i}" for i, (v, _) in enumerate(FAULTS)])
def test_a_fault_is_one_line_with_field_value_and_rule(values: dict[str, Any], line: str) -> None:
    with pytest.raises(BadInputError) as caught:
        TrialConfig.parse(values)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(BadInputError) as caught:
        TrialConfig.parse({"temperature": 0, "batch_size": "x", "encoder": "vgg", "colour": 1, "seed": -1})
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == {"temperature", "batch_size", "encoder", "colour", "seed"}
    assert len(lines) == 5


def test_a_fault_starts_with_its_field_also_where_fields_must_agree() -> None:
    with pytest.raises(BadInputError, match=r"^crop_area: "):
        TrialConfig.parse({"crop_area": (1.0, 0.08)})


def test_faults_of_intervals_come_with_the_others() -> None:
    with pytest.raises(BadInputError) as caught:
        TrialConfig.parse({"crop_area": (1.0, 0.08), "blur_sigma": (2.0, 0.1), "temperature": 0.0})
    text = str(caught.value)
    assert all(field in text for field in ("crop_area", "blur_sigma", "temperature"))


def test_a_configuration_cannot_be_changed() -> None:
    config = TrialConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.temperature = 0.5  # type: ignore[misc]
    assert hash(config) == hash(TrialConfig())


def test_json_round_trip_and_one_spelling() -> None:
    changed = TrialConfig.parse({**OTHER_VALUES, **OFF})
    assert TrialConfig().canonical_json() == "{}"  # an option that is off leaves every id as it is
    for config in (TrialConfig(), changed):
        text = config.canonical_json()
        again = TrialConfig.parse(json.loads(text))
        assert again == config
        assert again.canonical_json() == text
    backwards = TrialConfig.parse({**dict(reversed(OTHER_VALUES.items())), **OFF})
    assert backwards.canonical_json() == changed.canonical_json()
    assert TrialConfig.parse({"warmup_epochs": 10}).canonical_json() == TrialConfig().canonical_json()
    assert TrialConfig.parse({"crop_area": [0.08, 1]}).canonical_json() == TrialConfig().canonical_json()


def test_trial_id_changes_with_every_field_and_with_the_data() -> None:
    base = TrialConfig.parse({"positive": ("Forest",), "epochs": 3})
    assert set(OTHER_VALUES) == set(TrialConfig.model_fields)
    ids = {base.trial_id("data"), base.trial_id("other data")}
    ids |= {base.model_copy(update={name: value}).trial_id("data") for name, value in OTHER_VALUES.items()}
    assert len(ids) == len(OTHER_VALUES) + 2
    assert all(len(name) == 12 and set(name) <= set("0123456789abcdef") for name in ids)
    assert base.trial_id("data") == TrialConfig.parse(json.loads(base.canonical_json())).trial_id("data")


def test_ids_of_known_configurations_stay() -> None:
    """Ids name finished trials in every storage: a text, a group or a unit of a field must not change them."""
    known: dict[str, dict[str, Any]] = {
        "17a18fc89ec4": {},
        "4aa135ef634f": {"temperature": 0.5, "batch_size": 1024},
        "e02501810eea": {**OTHER_VALUES, **OFF, **LATER},
    }
    assert [TrialConfig.parse(values).trial_id("data") for values in known.values()] == list(known)


def test_whole_places_in_place_of_single_images_are_another_experiment() -> None:
    """With a limit, pairs of seasons once took single images, under the id 72df3fc14ca8; no other id changes."""
    season, limit = {"pairs": "season"}, {"max_train_images": 100}
    ids = [TrialConfig.parse(values).trial_id("data") for values in (season, limit, {**season, **limit})]
    assert ids[:2] == ["2514307198d0", "7d2789fcf4cd"]
    assert ids[2] != "72df3fc14ca8"


def test_assignments_take_one_value_several_or_a_pair() -> None:
    texts = [
        "temperature=0.25, 0.5",
        "encoder=resnet18",
        "crop_area=0.2,1",
        "positive=farmland",
        "max_train_images=null",
    ]
    assert parse_assignments(texts) == {
        "temperature": [0.25, 0.5],
        "encoder": ["resnet18"],
        "crop_area": [[0.2, 1]],
        "positive": [["farmland"]],
        "max_train_images": [None],
    }
    assert parse_assignments([]) == {}
    chosen = {field: values[0] for field, values in parse_assignments(texts).items()}
    assert TrialConfig.parse(chosen).crop_area == (0.2, 1.0)


def test_assignments_take_class_names_that_look_like_numbers() -> None:
    assert TrialConfig.parse({"positive": parse_assignments(["positive=0,6"])["positive"][0]}).positive == ("0", "6")


def test_assignments_take_a_json_list_for_names_with_commas() -> None:
    name = "Land principally occupied by agriculture, with significant areas of natural vegetation"
    assert parse_assignments([f'positive=["{name}", "Pastures"]']) == {"positive": [[name, "Pastures"]]}
    assert parse_assignments(["crop_area=[0.2, 1]"]) == {"crop_area": [[0.2, 1]]}


def test_assignments_list_every_fault() -> None:
    with pytest.raises(BadInputError) as caught:
        parse_assignments(["temperature", "=3", "seed=", "colour=red", "seed=1"])
    lines = str(caught.value).splitlines()
    assert lines[:3] == [f"--set {text}: must be field=value" for text in ("temperature", "=3", "seed=")]
    assert lines[3].startswith("--set colour=red: unknown field 'colour'; known fields: dataset, ")
    assert len(lines) == 4


def test_the_earlier_name_of_the_configuration_stays_importable() -> None:
    """Spaces and notebooks of others import it."""
    assert SimCLRConfig is TrialConfig
