"""Calls of AWS's API with time limits; a call without an answer is a failed check and doesn't stop the others."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sweep.console.findings import CheckResult

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
ATTEMPTS = 2
IMAGE_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""AWS's public parameter with the newest Deep Learning AMI of a region."""
UNREACHABLE = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ProxyConnectionError",
    "SSLError",
)
"""botocore's errors for calls that AWS didn't answer."""
_NOT_PERMITTED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
Check = Callable[[], Iterable[CheckResult]]


class NoAnswerError(Exception):
    """Call to AWS without an answer; the text is the reason, with AWS's error code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class AwsApi:
    """AWS API of one region, with the credentials found on this machine."""

    def __init__(self, region: str) -> None:
        """Open the API.

        Raises:
            ImportError: boto3 isn't installed.
            NoAnswerError: boto3's settings are wrong.
        """
        import boto3
        import botocore.exceptions
        from botocore.config import Config

        self.region = region
        self._config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        )
        try:
            self._session = boto3.Session(region_name=region)
        except botocore.exceptions.BotoCoreError as error:
            raise NoAnswerError(type(error).__name__, str(error)) from error
        self._clients: dict[tuple[str, str], Any] = {}
        self._making = threading.Lock()  # sessions aren't thread-safe, clients are

    def has_credentials(self) -> bool:
        """Return whether boto3 finds credentials."""
        import botocore.exceptions

        try:
            return self._session.get_credentials() is not None
        except botocore.exceptions.BotoCoreError:
            return False

    def client(self, service: str, region: str | None = None) -> Any:
        """Return boto3's client of a service."""
        key = (service, region or self.region)
        with self._making:
            if key not in self._clients:
                self._clients[key] = self._session.client(service, region_name=key[1], config=self._config)
            return self._clients[key]

    def ask(self, service: str, operation: str, *, region: str | None = None, **arguments: Any) -> Any:
        """Return the answer to a call; NoAnswerError if AWS doesn't answer."""
        import botocore.exceptions

        try:
            return getattr(self.client(service, region), operation)(**arguments)
        except botocore.exceptions.ClientError as error:
            code, message = error.response["Error"]["Code"], _one_line(error.response["Error"].get("Message", ""))
            what = f"not permitted ({code})" if code in _NOT_PERMITTED else f"AWS answers {code}: {message}"
            raise NoAnswerError(code, f"{service} {operation}: {what}") from error
        except Exception as error:  # missing credentials, network or endpoint, or an unreadable answer
            name = type(error).__name__
            raise NoAnswerError(name, f"{service} {operation}: no answer ({name}: {_one_line(error)})") from error


def answered(what: str, check: Check) -> list[CheckResult]:
    """Return the results of a check; a warning if AWS doesn't answer it."""
    found = []
    try:
        for finding in check():
            found.append(finding)
    except NoAnswerError as error:
        found.append(CheckResult(what, "warning", f"not checked: {error}"))
    except Exception as error:  # a hand-written file may contain anything
        found.append(CheckResult(what, "warning", f"not checked: {type(error).__name__}: {_one_line(error)}"))
    return found


def newest_image(region: str) -> str:
    """Return the id of the newest Deep Learning AMI of a region; NoAnswerError if AWS doesn't answer."""
    try:
        aws = AwsApi(region)
    except ImportError as error:
        raise NoAnswerError("ImportError", "boto3 isn't installed: the extra `cluster` brings it") from error
    if not aws.has_credentials():
        raise NoAnswerError("NoCredentialsError", "boto3 finds no credentials of AWS")
    return str(aws.ask("ssm", "get_parameter", Name=IMAGE_PARAMETER)["Parameter"]["Value"])


def _one_line(message: object) -> str:
    return " ".join(str(message).split())[:200]
