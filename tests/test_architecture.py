"""Who may know whom (docs/design): read from the imports themselves, those inside functions included."""

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from support.paths import ROOT

RAY_MODULES = ("tune_bridge.py", "trial_actor.py", "failure_diagnosis.py", "worker_*.py", "connection.py")
MLFLOW_MODULES = ("tracker.py", "store.py", "runs.py", "dataset_input.py", "model_registry.py", "serving_model.py")
HEAVY = ("torch", "torchvision", "sklearn", "ray", "mlflow", "pyarrow")
LIGHT = [f"trainables/{name}.py" for name in ("config", "schedule", "metric_names", "overrides", "errors")]
LIGHT += ["trainables/memory/layer_sizes.py", "trainables/memory/peak.py", "sweep/planning/memory_budget.py"]
LIGHT += ["trainables/data/catalog.py", "trainables/data/dataset_facts.py"]


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(text: str, package: str, *, at_import: bool = False) -> set[str]:
    """Return the dotted names that a module imports; `from a import b` gives a and a.b.

    With `at_import`, only what importing the module runs: not inside functions or `if TYPE_CHECKING`.
    """
    found = set()
    for node in _statements(ast.parse(text), at_import=at_import):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)}
    return found


def _statements(node: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import and isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from (node for part in child.orelse for node in (part, *_statements(part, at_import=True)))
            continue
        yield child
        yield from _statements(child, at_import=at_import)


def imports_of(path: Path, *, at_import: bool = False) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return imports(path.read_text(encoding="utf-8"), package, at_import=at_import)


def within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def offenders(package: str, *modules: str, allowed: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        if not any(fnmatch(path.name, pattern) for pattern in allowed)
        for name in sorted(imports_of(path))
        if within(name, *modules)
    ]


def test_the_reader_of_imports_sees_every_form() -> None:
    text = """
import ray.tune as tune
from . import space
from ..other import thing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import mlflow
else:
    import numpy
try:
    import torch
except ImportError:
    pass
def late():
    from ray import train
    importlib.import_module("sklearn.metrics")
"""
    at_import = {"ray.tune", "a.b", "a.b.space", "a.other", "a.other.thing", "typing", "typing.TYPE_CHECKING"}
    at_import |= {"numpy", "torch"}
    assert imports(text, "a.b", at_import=True) == at_import
    assert imports(text, "a.b") == at_import | {"mlflow", "ray", "ray.train", "sklearn.metrics"}


def test_trainables_know_neither_the_cluster_nor_the_sweep() -> None:
    assert len(sources("trainables")) > 20
    assert offenders("trainables", "ray", "mlflow", "sweep", "search_spaces") == []


def test_ray_tune_and_train_stay_in_their_modules() -> None:
    assert offenders("sweep", "ray.tune", "ray.train", allowed=RAY_MODULES) == []


def test_mlflow_stays_in_its_modules() -> None:
    assert offenders("sweep", "mlflow", allowed=MLFLOW_MODULES) == []


def test_search_spaces_know_the_language_of_spaces_alone() -> None:
    foreign = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("search_spaces")
        for name in sorted(imports_of(path))
        if not within(name, "sweep.space", "search_spaces") and name != "sweep"
        if name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy_directly_or_through_another(module: str) -> None:
    seen: set[Path] = set()
    waiting = [ROOT / module]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        names = imports_of(path, at_import=True)
        assert [name for name in names if within(name, *HEAVY)] == [], path.relative_to(ROOT)
        for name in names:
            place = ROOT.joinpath(*name.split("."))
            waiting += [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
