"""Spaces in files and modules: read as they are written, each fault is one line that says where."""

import functools
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sweep.console.named_files import read_mapping
from sweep.planning.plan import Plan, make_plan
from sweep.planning.space_schema import space_schema
from sweep.planning.trial import DataSize
from sweep.space import (
    Best,
    Grid,
    RankingObjective,
    SearchSpace,
    Stage,
    known_spaces,
    load_space,
    written,
)
from trainables.errors import BadInputError

SIZE = DataSize(1000, 100, 10, "aa", "prepared", class_names=tuple("0123456789"))


def plan_of(asked: SearchSpace, **assignments: Any) -> Plan:
    return make_plan(asked, assignments=assignments, size_of=lambda name: SIZE)


FILE = """
name: mine
description: two temperatures, then the better one trained longer
base: {dataset: digits, image_size: 16, weight_decay: 1e-4, validation_fraction: 0.2}
stages:
  - name: temperature
    grids: [{axes: {temperature: [0.1, 0.25], crop_area: [[0.08, 1], [0.5, 1]]}}]
  - name: longer
    grids: [{base: {temperature: {best: {field: temperature, dataset: digits}}}, axes: {epochs: [100, 200]}}]
objective: {metric: val/knn_top1}
"""


@functools.cache
def schema_validator() -> Any:
    """Return the checker of spaces by their schema, which is itself checked once."""
    schema = space_schema()
    checker = jsonschema.validators.validator_for(schema)
    checker.check_schema(schema)
    return checker(schema)


@pytest.mark.parametrize("name", known_spaces())
def test_spaces_come_back_from_yaml_and_fit_their_schema(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(written(load_space(name)), sort_keys=False))
    assert written(load_space(str(path))) == written(load_space(name))
    schema_validator().validate(yaml.safe_load(path.read_text()))


def test_lists_and_ranges_of_python_fit_the_schema_as_they_are_printed(tmp_path: Path) -> None:
    axes = {"epochs": range(1, 4), "crop_area": ([0.1, 1.0], (0.2, 1.0))}
    stage = Stage("grid", (Grid(base={"jitter_operations": ["hue"]}, axes=axes),))
    space = SearchSpace("mine", "d", (stage,), RankingObjective("test/knn_top1"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(written(space)))
    assert written(load_space(str(path))) == written(space)
    schema_validator().validate(yaml.safe_load(path.read_text()))
    for wrong in ({"grace": 0, "metric": "val/top1"}, {"reduction": 1, "metric": "val/top1"}):
        values = written(space) | {"stages": [{"name": "grid", "grids": [{}], "halving": wrong}]}
        with pytest.raises(jsonschema.ValidationError):
            schema_validator().validate(values)


def test_a_yaml_file_is_a_space(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    asked = load_space(str(path))
    assert asked.base["weight_decay"] == 1e-4
    assert [trial.config.crop_area for trial in plan_of(asked).trials if not trial.baseline][:2] == [
        (0.08, 1),
        (0.5, 1),
    ]
    assert asked.stages[1].grids[0].base["temperature"] == Best("temperature", "digits")


def test_a_toml_file_is_a_space(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ndescription = ""\nobjective = {metric = "test/top1"}\nbase = {dataset = "digits", epochs = 2}\n'
        '[[stages]]\nname = "a"\n[[stages.grids]]\naxes = {temperature = [0.1, 0.5]}\n'
    )
    assert len(plan_of(load_space(str(path))).trials) == 3


@pytest.mark.parametrize(
    ("written_as", "values"),
    [
        ("[1, 010, 20]", (1, "010", 20)),
        ("[.5, 1e-1, 2.0]", (0.5, 0.1, 2.0)),
        ("[no, on, true]", ("no", "on", True)),
        ("[1:30, 2024-01-01]", ("1:30", "2024-01-01")),
        ("{<<: {a: 1, b: 2}, b: 3}", {"a": 1, "b": 3}),
    ],
)
def test_yaml_values_are_read_as_yaml_1_2_does(written_as: str, values: Any, tmp_path: Path) -> None:
    for name in ("x.yaml", "x.YML"):
        (tmp_path / name).write_text(f"x: {written_as}")
        read = read_mapping(tmp_path / name)["x"]
        assert read == (list(values) if isinstance(values, tuple) else values)


def test_a_toml_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'\xef\xbb\xbfname = "a"')
    assert read_mapping(tmp_path / "x.toml") == {"name": "a"}


def test_each_fault_of_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace("name: mine", "nmae: mine").replace("stages:", "stage:"))
    with pytest.raises(BadInputError) as caught:
        load_space(str(path))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"space '{path}': ") for line in lines)
    assert lines[2].endswith("nmae: unknown field; did you mean 'name'?")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((FILE, "[" * 3000), "mine.yaml': isn't YAML: maximum recursion depth"),
        (
            ("val/knn_top1}", "val/knn_top1, direction: up}"),
            "mine.yaml': objective.direction: must be 'max' or",
        ),
        (
            ("[0.1, 0.25]", "[0.1, cold]"),
            "stages.0.grids.0.axes: temperature: must be a valid number.*cold",
        ),
        (("name: mine", "name: mine\nname: yours"), "mine.yaml': line 2: 'name' is there twice"),
        (("name: mine", "name: [mine"), "mine.yaml': isn't YAML: "),
        ((FILE, "- a\n- b\n"), "mine.yaml': must be a mapping of names to values, got list"),
        (("stages:", "stage:"), "mine.yaml': stages: is missing"),
        (("name: mine", "name: 1" + "0" * 5000), "mine.yaml': isn't YAML: Exceeds the limit"),
    ],
)
def test_a_fault_in_a_file_is_named_where_it_stands(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace(*change))
    with pytest.raises(BadInputError, match=message):
        load_space(str(path))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit(3)", r"line 2: calls sys.exit"),
        ("import os\nos._exit(0)", r"line 2: calls os._exit"),
        (
            "import os\nif not (child := os.fork()):\n    os._exit(3)\nraise ValueError(os.waitpid(child, 0)[1])",
            r"line 4: .*768",
        ),
        ("x = 1\ny = = 2", "can't be read: SyntaxError: "),
        ("x = 1\n1 / 0", "line 2: can't be read: ZeroDivisionError"),
        (
            "from sweep.space import *\n\nO = Objective('val/top1', 'maximize')",
            "line 3: RankingObjective: direction: must be",
        ),
        ("import nonsense", "line 1: can't be read: ModuleNotFoundError"),
        ("x = 1", "has no SPACE"),
        ("raise GeneratorExit", "line 1: can't be read: GeneratorExit"),
        ("from search_spaces.quickstart import SPACE as space", "no SPACE .*; name space so"),
    ],
)
@pytest.mark.parametrize("dotted", [False, True])
def test_code_that_is_no_space_is_one_line(
    code: str, message: str, dotted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / f"mine_{abs(hash((code, dotted)))}"
    package.mkdir()
    (package / "spaces.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"{package.name}.spaces" if dotted else str(package / "spaces.py")
    if dotted and "nonsense" in code:
        message = "imports a module that isn't installed: nonsense"
    with pytest.raises(BadInputError, match=message):
        load_space(name)


def test_names_that_are_no_space(tmp_path: Path) -> None:
    for name, message in (
        ("qickstart", "unknown; did you mean 'quickstart'"),
        ("no.such.module", "unknown; known: bigearthnet_labels"),
        (str(tmp_path), "is a folder; give a file"),
        (".", "unknown"),
        (str(tmp_path / "gone.yaml"), "can't be read .No such file"),
        (str(tmp_path / "gone.py"), "no such file"),
    ):
        with pytest.raises(BadInputError, match=message):
            load_space(name)
