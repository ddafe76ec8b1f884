"""The snippets of a model card, which run as they stand."""

import textwrap
from typing import Any

import torch


def snippets(card: str) -> list[str]:
    """Return the card's blocks of Python: the indented ones that import something."""
    blocks, block = [], ""
    for line in [*card.splitlines(), "the end"]:
        if line.startswith("    ") or (block and not line):
            block += line + "\n"
        elif block:
            blocks.append(textwrap.dedent(block))
            block = ""
    return [block for block in blocks if block.startswith("import ")]


def run(snippet: str, images: torch.Tensor | None = None) -> dict[str, Any]:
    """Run a snippet as it stands; with `images`, in place of those that it makes itself."""
    names: dict[str, Any] = {"images": images}
    if images is not None:
        snippet = "\n".join(line for line in snippet.splitlines() if not line.startswith("images ="))
    exec(snippet, names)
    return names
