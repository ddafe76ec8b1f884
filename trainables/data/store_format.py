"""The format of a store: its version, its files and the width of its checksums."""

FORMAT_VERSION = 2
PIXELS_FILE = "pixels.bin"
"""Every image's values, (H, W, C), one after another and nothing else."""
ROWS_FILE = "rows.arrow"
INFO_FILE = "store.json"
CHECKSUM_BYTES = 16
