"""MLflow's pages behind a password: `python -m sweep.tracking.pages`, which `server` starts and sets up by environment.

`mlflow server` is not used, for two reasons. Its sign-in is an experimental app for many users, which needs packages
that a plain installation lacks. And it takes the store's address, which may contain a password, on its command line,
which every user of the machine can read.
"""

import base64
import hmac
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

HOST = "127.0.0.1"
USER = "sweep"
SOCKET, STORE, ARTIFACTS, PASSWORD = "SWEEP_UI_SOCKET", "SWEEP_UI_STORE", "SWEEP_UI_ARTIFACTS", "SWEEP_UI_PASSWORD"
PARENT = "SWEEP_UI_PARENT"
"""Environment variables; without a password every user of this machine has access."""
LEAVE_SECONDS = 3
ASSISTANT = "assistant"
"""Part of the paths of MLflow's assistant."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def authorization(password: str) -> str:
    """Return the value of the HTTP Authorization header for a password."""
    return "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()


class PasswordGuard:
    """ASGI application that forwards requests only with the password, for every path and method."""

    def __init__(self, application: Application, password: str) -> None:
        self._application, self._expected = application, authorization(password).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; the ASGI interface."""
        if scope["type"] == "lifespan" or self._is_authorised(scope):
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"www-authenticate", b'Basic realm="sweep"'), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    def _is_authorised(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


class WithoutAssistant:
    """ASGI application that forwards all requests except those to MLflow's assistant.

    The assistant runs commands as the server's user for whoever is on this machine.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; the ASGI interface."""
        if ASSISTANT in scope.get("path", "").lower().split("/"):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._application(scope, receive, send)


def application(store: str, artifacts: str, password: str) -> Application:
    """Return MLflow's server application for a store, behind the password if there is one."""
    from mlflow.server import constants

    # MLflow's modules read these on import, and create their stores from them.
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    if artifacts:
        os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    served = WithoutAssistant(app)
    return PasswordGuard(served, password) if password else served


def end_with_parent(pipe: int) -> None:
    """End this process group once the pipe's other end is closed, however the starting command ended.

    It runs in a thread, since the import of MLflow's server takes seconds.
    """

    def follow() -> None:
        os.read(pipe, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, name="parent", daemon=True).start()


def main() -> None:
    """Serve until a signal comes, or the command that started it is gone."""
    end_with_parent(int(os.environ.pop(PARENT)))
    import uvicorn

    store, artifacts, password = (os.environ.pop(name, "") for name in (STORE, ARTIFACTS, PASSWORD))
    served = application(store, artifacts, password)
    config = uvicorn.Config(served, log_level="warning", timeout_graceful_shutdown=LEAVE_SECONDS)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(os.environ.pop(SOCKET)))])


if __name__ == "__main__":
    main()
