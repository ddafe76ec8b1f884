"""Cluster files: filling in a template, whose comments are kept, and reading files back."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sweep.cluster_setup.questions import QUESTIONS, Answers, Place, Value
from trainables.errors import BadInputError
from trainables.files.atomic_file import write_atomically
from trainables.files.special_file import refuse_special

MARK = "CHANGE"
"""Mark in a template for a value that the user must set."""
_TEMPLATES = {"aws": "cluster.yaml", "local": "cluster.local.yaml"}
_INTRODUCTION = re.compile(rf"^# Lines marked {MARK} .*$", re.MULTILINE)


def template(provider: str) -> str:
    """Return the text of a provider's template."""
    return (Path(__file__).parent / "templates" / _TEMPLATES[provider]).read_text(encoding="utf-8")


def value_at(text: str, place: Place) -> Any:
    """Return a value of a YAML text."""
    value = yaml.safe_load(text)
    for step in place:
        value = value[step]
    return value


def filled(provider: str, answers: Answers) -> str:
    """Return the provider's template with the answers filled in and without CHANGE marks."""
    text = template(provider)
    if answers.get("market") == "on-demand":
        text = _without(text, ("available_node_types", "gpu", "node_config", "InstanceMarketOptions"))
    for question in QUESTIONS[provider]:
        if answers[question.name] != "on-demand":
            for place in question.places:
                text = _with(text, place, answers[question.name])
    text = _INTRODUCTION.sub("# Written by `python -m sweep.configure`, which also checks it: --check FILE.", text)
    text = re.sub(rf" *# {MARK}$", "", text, flags=re.MULTILINE)
    text = text.replace(f"# {MARK}: ", "# ")
    if "bucket" in answers:
        text = text.replace("where your bucket is", f"where the bucket {answers['bucket']} is")
    return text


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise BadInputError if a file can't be written, or exists and `overwrite` is False."""
    if not path.parent.is_dir():
        raise BadInputError(f"--output {path}: its folder doesn't exist")
    if path.is_dir():
        raise BadInputError(f"--output {path}: is a folder; name a file")
    if path.exists() and not overwrite:
        raise BadInputError(f"--output {path}: already exists; --overwrite replaces it, or choose another file")


def write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a whole file; a link is replaced, not its target. Raises the errors of `refuse_existing`."""
    refuse_existing(path, overwrite=overwrite)
    write_atomically(path, text.encode())


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a cluster file's text and content; BadInputError for an invalid file."""
    refuse_special(path, str(path))
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: isn't YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get("provider"), dict):
        raise BadInputError(f"{path}: isn't a cluster file: it has no `provider` with settings")
    return text, content


def _with(text: str, place: Place, value: Value) -> str:
    """Return the text with another value at a place; a comment behind the value keeps its column if possible."""
    node = _entry(text, place)[1]
    start, end = node.start_mark.index, node.end_mark.index
    written = str(yaml.safe_dump(value, default_flow_style=True, width=1000)).removesuffix("...\n").strip()
    behind = text[end:]
    if comment := re.match(r"([^\n#]*?)( +)(?=#)", behind):
        spaces = max(1, len(comment[2]) - len(written) + end - start)
        behind = comment[1] + " " * spaces + behind[comment.end() :]
    return text[:start] + written + behind


def _without(text: str, place: Place) -> str:
    """Return the text without the line of a setting."""
    key, value = _entry(text, place)
    assert key.start_mark.line == value.end_mark.line
    lines = text.splitlines(keepends=True)
    del lines[key.start_mark.line]
    return "".join(lines)


def _entry(text: str, place: Iterable[str | int]) -> tuple[yaml.Node, yaml.Node]:
    """Return the YAML nodes of a place's key and value; a list item is its own key."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    key = node
    for step in place:
        if isinstance(step, int):
            key = node = node.value[step]
        else:
            key, node = next(pair for pair in node.value if pair[0].value == step)
    return key, node
