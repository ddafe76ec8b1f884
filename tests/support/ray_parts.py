"""A Ray without its private parts, as far as the sweep's own code sees it."""

import builtins
from typing import Any

import pytest

from sweep.cluster import ray_private


def is_private(module: str) -> bool:
    words = module.split(".")
    return words[0] == "ray" and (words[:3] == ["ray", "core", "generated"] or any(w.startswith("_") for w in words))


def hide_private_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse them to the file that reads them, not to Ray, which needs them; what it has said is forgotten."""
    found = builtins.__import__

    def refuse(name: str, namespace: Any = None, *arguments: Any, **options: Any) -> Any:
        if is_private(name) and (namespace or {}).get("__name__") == ray_private.__name__:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, namespace, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(ray_private, "_off", set())
