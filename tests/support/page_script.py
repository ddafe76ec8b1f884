"""A report page in headless Chromium, with a script of a test."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")


def found_by(script: str, page: str, folder: Path, *options: str) -> Any:
    """Return the JSON that a script writes into the page's title, after `FOUND` and before `END`."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    at = page.rindex("</body>")
    file = folder / "scripted.html"
    file.write_text(f"{page[:at]}<script>{script}</script>{page[at:]}", encoding="utf-8")
    command = [str(BROWSER), *QUIET, f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>FOUND(.*?)END</title>", done.stdout, flags=re.DOTALL)
    assert found is not None, done.stdout[-500:]
    return json.loads(html.unescape(found[1]))
