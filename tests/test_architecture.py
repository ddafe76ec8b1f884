"""Which folder may import which, read from the imports themselves: those inside functions and for types included."""

import ast
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from support.paths import ROOT

PACKAGES = ("sweep", "trainables", "search_spaces")
SWEEP_LAYERS = (
    ("console",),
    ("space",),
    ("planning", "statistics"),
    ("records",),
    ("comparison", "scheduling"),
    ("figures", "cluster"),
    ("report", "cluster_setup"),
    ("tracking", "deployment"),
    ("running", "maps"),
    ("api",),
    (
        "run",
        "data",
        "compare",
        "evaluate",
        "export",
        "predict",
        "embed",
        "ui",
        "status",
        "stop",
        "configure",
        "doctor",
        "track",
        "remove",
        "spaces",
        "weights",
    ),
    ("__main__",),
)
"""Layers, the lowest first: imports lead to a lower one, or stay in their folder. Files: commands, api.py, space.py."""
TRAINABLES_LAYERS = (
    ("printing", "field_facts", "memory.constants"),
    ("errors", "kernels", "randomness", "distributed", "heartbeat", "schedule", "losses"),
    ("files", "lars"),
    ("storage",),
    ("weights",),
    ("config",),
    ("fields", "metrics"),
    ("memory", "augment", "data"),
    ("evaluation", "models", "data.sources"),
    ("objectives", "data.preparing"),
    ("training",),
    ("simclr",),
)
BETWEEN = {"trainables": (), "sweep": ("trainables",), "search_spaces": ("sweep.space",)}
"""What a package may import of the others."""
ONLY_IN = {
    "ray": ("sweep/cluster/*",),
    "mlflow": ("sweep/tracking/*",),
    "rasterio": ("sweep/maps/*",),
    "boto3": ("sweep/cluster_setup/*",),
    "botocore": ("sweep/cluster_setup/*",),
    "matplotlib": ("sweep/figures/*", "sweep/report/*", "sweep/maps/*"),
}
"""Libraries that one folder keeps to itself; matplotlib's types may be named elsewhere."""
HEAVY = ("torch", "torchvision", "sklearn", "ray", "mlflow", "pyarrow", "matplotlib", "pandas", "scipy")
LIGHT_ROOMS = ("sweep/planning", "sweep/console", "sweep/space.py")
LIGHT_FILES = ("config", "schedule", "errors", "field_facts", "metrics/names", "fields/overrides")
LIGHT_FILES += ("printing/printable_text", "printing/redaction", "storage/uri_schemes")
LIGHT_FILES += ("weights/initial_weights", "weights/header", "weights/catalog", "weights/download")
LIGHT_FILES += ("data/dataset_facts", "data/store_format", "data/store_info", "data/bands")
LIGHT_FILES += ("data/store_addresses", "data/store_targets")
LIGHT_FILES += ("memory/constants", "memory/layer_sizes", "memory/peak")

Imports = Mapping[str, set[str]]
"""The modules of the project that each of its modules imports."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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


@cache
def imports_of(path: Path, *, at_import: bool = False) -> frozenset[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return frozenset(imports(path.read_text(encoding="utf-8"), package, at_import=at_import))


@pytest.fixture(scope="module")
def project() -> Imports:
    modules = {dotted(path): path for package in PACKAGES for path in sources(package)}
    return {name: {other for other in imports_of(path) if other in modules} - {name} for name, path in modules.items()}


def within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def folder(module: str) -> tuple[str, int]:
    """Return the folder of a module of sweep or trainables, by its longest name among the layers, and its layer."""
    package, _, inner = module.partition(".")
    layers = SWEEP_LAYERS if package == "sweep" else TRAINABLES_LAYERS
    places = [(name, layer) for layer, names in enumerate(layers) for name in names if within(inner, name)]
    assert places, f"{module}: is in no layer: add its folder or file to the layers above"
    name, layer = max(places, key=lambda place: len(place[0]))
    return f"{package}.{name}", layer


def misplaced(project: Imports) -> list[str]:
    """Return the imports of another folder of the same or a higher layer, or of a package that isn't below."""
    found = []
    for module, others in project.items():
        package = module.partition(".")[0]
        for other in sorted(others):
            if other in PACKAGES or module in PACKAGES:  # an empty __init__.py
                continue
            if other.partition(".")[0] != package:
                if not within(other, *BETWEEN[package]):
                    found.append(f"{module} imports {other}")
            elif package != "search_spaces":
                (here, layer), (there, lower) = folder(module), folder(other)
                if here != there and lower >= layer:
                    found.append(f"{module} (layer {layer}) imports {other} (layer {lower})")
    return found


def circles(project: Imports) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in project[module]:
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            found.extend([sorted(group)] if len(group) > 1 else [])

    for module in project:
        if module not in order:
            visit(module)
    return found


def outside(library: str, allowed: tuple[str, ...], *, at_import: bool = False) -> list[str]:
    """Return the files that import a library and aren't among those that may."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in sources(package)
        if not any(fnmatch(path.relative_to(ROOT).as_posix(), pattern) for pattern in allowed)
        for name in sorted(imports_of(path, at_import=at_import))
        if within(name, library)
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


def test_imports_lead_down_the_layers(project: Imports) -> None:
    assert len(project) > 200
    assert misplaced(project) == []


def test_no_files_import_each_other_in_a_circle(project: Imports) -> None:
    assert circles(project) == []


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("sweep.planning.plan", "sweep.records.status"),
        ("sweep.comparison.table", "sweep.scheduling.task"),
        ("sweep.report.page", "sweep.compare"),
        ("sweep.evaluate", "sweep.run"),
        ("trainables.config", "trainables.training.trial"),
        ("trainables.data.store_info", "trainables.data.sources.folder"),
        ("trainables.losses", "sweep.space"),
        ("search_spaces.quickstart", "sweep.planning.plan"),
    ],
)
def test_a_planted_import_is_found(project: Imports, module: str, other: str) -> None:
    assert module in project
    assert other in project
    planted = {**project, module: project[module] | {other}}
    (line,) = set(misplaced(planted)) - set(misplaced(project))
    assert line.startswith(module)
    assert other in line


def test_a_planted_circle_is_found(project: Imports) -> None:
    (group,) = circles({**project, "trainables.errors": {"trainables.config"}})
    assert {"trainables.errors", "trainables.config"} <= set(group)


@pytest.mark.parametrize(("library", "allowed"), ONLY_IN.items())
def test_a_library_stays_in_its_room(library: str, allowed: tuple[str, ...]) -> None:
    at_import = library == "matplotlib"
    assert outside(library, allowed, at_import=at_import) == []
    assert outside(library, (), at_import=at_import), "the rule can fail"


@pytest.mark.parametrize(
    "path",
    [path for place in LIGHT_ROOMS for path in (sources(place) if (ROOT / place).is_dir() else [ROOT / place])]
    + [ROOT / "trainables" / f"{name}.py" for name in LIGHT_FILES],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_light_files_import_nothing_heavy_directly_or_through_another(path: Path) -> None:
    seen: set[Path] = set()
    waiting = [path]
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


def test_scheduling_and_records_import_no_torch_ray_or_mlflow_of_their_own() -> None:
    for place in ("sweep/scheduling", "sweep/records"):
        for path in sources(place):
            assert not [n for n in imports_of(path, at_import=True) if within(n, "torch", "ray", "mlflow", "sklearn")]


def test_a_status_is_read_without_torch() -> None:
    """Its import takes longer than a thousand trials' records."""
    seen: set[Path] = set()
    waiting = [ROOT / "sweep" / name for name in ("records/lease.py", "records/status.py", "records/trial_result.py")]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            names = imports_of(path, at_import=True)
            assert not [name for name in names if within(name, "torch")], path.relative_to(ROOT)
            places = [ROOT.joinpath(*name.split(".")) for name in names]
            waiting += [place.with_suffix(".py") for place in places if place.with_suffix(".py").is_file()]


def test_search_spaces_know_the_language_of_spaces_alone() -> None:
    foreign = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("search_spaces")
        for name in sorted(imports_of(path))
        if not within(name, "sweep.space", "search_spaces") and name != "sweep"
        if name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


def test_every_room_says_what_it_is_for() -> None:
    folders = {path.parent for package in ("sweep", "trainables") for path in sources(package)}
    lacking = [folder.relative_to(ROOT).as_posix() for folder in folders if not (folder / "README.md").is_file()]
    assert sorted(lacking) == []
