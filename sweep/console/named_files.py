"""Files and modules named on the command line: Python code, or values in YAML or TOML."""

import importlib
import importlib.util
import sys
import tomllib
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from trainables.errors import BadInputError

DATA_FILES = (".yaml", ".yml", ".toml")
"""Suffixes of files with values."""
_EXPONENT = r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"
"""Numbers such as 1e-4, which YAML 1.1 parses as text."""


class NoSuchModuleError(BadInputError):
    """No module has the dotted name."""


def load_module(name: str) -> ModuleType:
    """Import a dotted module name or a .py file; BadInputError with the line at which its code fails or exits."""
    path = Path(name)
    if path.is_dir() and (path.suffix or "/" in name):
        raise BadInputError("is a folder; give a file")
    try:
        return _run_file(path) if path.suffix == ".py" or "/" in name else _import(name)
    except BadInputError as error:
        if (place := _place(error, name)) is None:
            raise
        raise BadInputError("\n".join(f"{place}{line}" for line in str(error).splitlines())) from error
    except SystemExit as error:
        place = _place(error, name) or ""
        raise BadInputError(f"{place}calls sys.exit; a module named here may only define values") from error
    except Exception as error:
        place = _place(error, name) or ""
        raise BadInputError(f"{place}can't be read: {type(error).__name__}: {error}") from error


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return the values of a YAML or TOML file; BadInputError if it is invalid or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"isn't UTF-8 text ({error})") from error
    values = _toml(text) if path.suffix == ".toml" else _yaml(text)
    if not isinstance(values, Mapping):
        raise BadInputError(f"must be a mapping of names to values, got {type(values).__name__}")
    return values


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadInputError("no such file")
    spec = importlib.util.spec_from_file_location(f"named_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadInputError("isn't a Python file (.py); values belong in a .yaml or .toml file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise NoSuchModuleError(f"{name!r} is no module's name")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise BadInputError(f"{name} imports a module that isn't installed: {error.name}") from error
        raise NoSuchModuleError(f"there is no module {error.name}") from error


def _place(error: BaseException, name: str) -> str | None:
    """Return the line of the named module or file that raised an error; None if the error is from elsewhere."""
    end = name if name.endswith(".py") else f"{name.replace('.', '/')}.py"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.endswith(end):
            return f"line {frame.lineno}: "
    return None


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"isn't TOML: {error}") from error


def _yaml(text: str) -> Any:
    import re

    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """YAML loader that rejects duplicate keys, and parses 1e-4 as a number."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
                raise BadInputError(f"line {node.start_mark.line + 1}: {twice[0]!r} stands twice; keep one")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_EXPONENT), list("-+0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise BadInputError(f"isn't YAML: {' '.join(str(error).split())}") from error
