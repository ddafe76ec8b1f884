"""Store format: version, file names, checksum width and the patterns of its text fields."""

FORMAT_VERSION = 2
PIXELS_FILE = "pixels.bin"
"""Raw values of all images (H, W, C), concatenated without header."""
ROWS_FILE = "rows.arrow"
INFO_FILE = "store.json"
STORE_FILES = (ROWS_FILE, PIXELS_FILE, INFO_FILE)
"""Files in copy order: the rows hold the checksums of the pixels, and store.json comes last to mark it complete."""
CHECKSUM_BYTES = 16
INFO_BYTES = 64 * 2**20
"""Size limit of store.json in bytes, enough for a million names of corrupt images."""
FINGERPRINT = r"^[0-9a-f]{64}$"
"""Pattern of a store's hex sha256; its first 32 digits name the folder in a node's cache."""
SOURCE_STATE = r"^([0-9a-f]{64})?$"
"""Pattern of the digest of a store's source; empty if none was recorded."""
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"
"""Pattern of names that are safe as a single file or folder name."""
UNFINISHED = "0" * 64
"""Placeholder fingerprint while a store is being prepared."""
