"""The commands of a documentation page, as its readers run them: fenced blocks under a comment that names them."""

import re
from pathlib import Path

_BLOCK = re.compile(
    r"^<!-- run: (?P<name>[\w -]+) -->\n+```(?:bash|text)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def page_commands(page: Path) -> dict[str, str]:
    """Return the blocks under `<!-- run: NAME -->`, by their names."""
    found = _BLOCK.findall(page.read_text())
    names = [name for name, _ in found]
    assert len(set(names)) == len(names), "two blocks have one name"
    return dict(found)
