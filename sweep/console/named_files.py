"""Files and modules named on the command line: Python code, or values in YAML or TOML."""

import importlib
import importlib.util
import os
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from trainables.errors import BadInputError
from trainables.files.special_file import refuse_special

DATA_FILES = (".yaml", ".yml", ".toml")
"""Suffixes of files with values."""
_EXPONENT = r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"
"""Numbers such as 1e-4, which YAML 1.1 parses as text."""
_WHOLE = r"^[-+]?(0|[1-9][0-9]*)$"
"""Whole numbers; 010 and 1:30, which YAML 1.1 parses as 8 and 90, are texts."""
_OF_YAML_1_1 = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "timestamp"))
"""Types that YAML 1.1 guesses from texts such as no, 010 and 1:30."""


class _ExitCalledError(SystemExit):
    """A named module called os._exit, which would end this program without a word."""


class NoSuchModuleError(BadInputError):
    """No module has the dotted name."""


def load_module(name: str) -> ModuleType:
    """Import a dotted module name or a .py file; BadInputError with the line at which its code fails or exits."""
    path = Path(name)
    if path.is_dir() and (path.suffix or "/" in name):
        raise BadInputError("is a folder; give a file")
    try:
        with _no_exit():
            return _run_file(path) if path.suffix == ".py" or "/" in name else _import(name)
    except BadInputError as error:
        if (place := _place(error, name)) is None:
            raise
        raise BadInputError(*(f"{place}{line}" for line in str(error).splitlines())) from error
    except SystemExit as error:
        place = _place(error, name) or ""
        called = "os._exit" if isinstance(error, _ExitCalledError) else "sys.exit"
        raise BadInputError(f"{place}calls {called}; a module named here may only define values") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # code of others may raise what isn't an Exception
        place = _place(error, name) or ""
        raise BadInputError(f"{place}can't be read: {type(error).__name__}: {error}") from error


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return the values of a YAML or TOML file; BadInputError if it is invalid or not a mapping."""
    refuse_special(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInputError(f"can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"isn't UTF-8 text ({error})") from error
    values = _toml(text) if path.suffix.lower() == ".toml" else _yaml(text)
    if not isinstance(values, Mapping):
        raise BadInputError(f"must be a mapping of names to values, got {type(values).__name__}")
    return values


@contextmanager
def _no_exit() -> Iterator[None]:
    """Make os._exit raise in this process during a block; its forked children still exit."""
    own, ended = os.getpid(), os._exit

    def refuse(code: int) -> NoReturn:
        if os.getpid() != own:
            ended(code)
        raise _ExitCalledError(code)

    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = ended


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
        raise NoSuchModuleError(f"{name!r} isn't a module name")
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
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"isn't TOML: {error}") from error


def _yaml(text: str) -> Any:
    import re

    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """YAML loader that rejects duplicate keys, and reads numbers and booleans as YAML 1.2 does."""

        yaml_implicit_resolvers = {  # noqa: RUF012  # pyyaml's own name
            first: [one for one in resolvers if one[0] not in _OF_YAML_1_1]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            named = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
            keys = [self.construct_object(key, deep=True) for key in named]
            if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
                raise BadInputError(f"line {node.start_mark.line + 1}: {twice[0]!r} is there twice; keep one")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_EXPONENT), list("-+.0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(_WHOLE), list("-+0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^([Tt]rue|[Ff]alse)$"), list("TtFf"))
    try:
        return yaml.load(text, Loader)
    except BadInputError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise BadInputError(f"isn't YAML: {' '.join(str(error).split())}") from error
