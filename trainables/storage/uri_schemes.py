"""Schemes of the addresses that storages and stores may have, and their misspellings."""

SCHEMES = frozenset(("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "file", "http", "https"))


def broken_scheme(address: str) -> str | None:
    """Return the scheme of an address that lacks a slash after it, as in s3:/bucket; None for any other text."""
    scheme, colon, rest = address.partition(":/")
    return scheme if colon and scheme in SCHEMES and not rest.startswith("/") else None
