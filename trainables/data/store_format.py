"""The format of a store: its version, its files, the width of its checksums, and how its texts are spelt."""

FORMAT_VERSION = 2
PIXELS_FILE = "pixels.bin"
"""Every image's values, (H, W, C), one after another and nothing else."""
ROWS_FILE = "rows.arrow"
INFO_FILE = "store.json"
STORE_FILES = (ROWS_FILE, PIXELS_FILE, INFO_FILE)
"""In the order in which they are copied: the rows say what the pixels have to be, and the last one makes it a store."""
CHECKSUM_BYTES = 16
INFO_BYTES = 64 * 2**20
"""Most of a store.json: a million names of corrupt images fit in; more is no record of this program."""
FINGERPRINT = r"^[0-9a-f]{64}$"
"""The hex sha256 of a store; its first 32 digits name a folder of a node's cache."""
SOURCE_STATE = r"^([0-9a-f]{64})?$"
"""A digest of what a store was made of, empty where none was kept."""
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"
"""A name that is a file or folder of its own and leads nowhere else."""
UNFINISHED = "0" * 64
"""The fingerprint while a store is being made."""
