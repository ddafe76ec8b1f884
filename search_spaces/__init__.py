"""The questions that come with the service, each a value in its own module."""
