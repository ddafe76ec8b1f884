"""Where the checkout is, for tests that start programs in it or read its files."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
