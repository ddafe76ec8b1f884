"""The versions that docs/security.md names are those that are pinned."""

import re

from support.paths import ROOT


def test_the_page_names_the_pinned_versions() -> None:
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    section = (ROOT / "docs" / "security.md").read_text().split("## Versions")[1]
    table = [line for line in section.splitlines() if line.startswith("|")]
    named = re.findall(r"([A-Za-z][A-Za-z0-9]+) (\d+(?:\.\d+)+)", "\n".join(table))
    assert len(named) > 15
    assert {name: version for name, version in named if pins.get(name.lower()) != version} == {}
