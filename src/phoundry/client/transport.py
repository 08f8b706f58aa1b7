"""How a call reaches the services: over HTTP, or in this process when no control plane runs.

One request path serves both. In process the same app answers through ASGI, so that there is one
set of rules and one wire form, whoever asks.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from phoundry.errors import (
    MissingDependency,
    PhoundryError,
    Unauthenticated,
    Unavailable,
    UsageError,
    from_dict,
    tree,
)
from phoundry.files import read_json
from phoundry.settings import Home, Settings

if TYPE_CHECKING:
    import httpx
    from pydantic import BaseModel

    from phoundry.server.launch import ServerInfo

ViewT = TypeVar("ViewT", bound="BaseModel")

KEPT_SECONDS = 2.0  # an idle connection
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
UPLOAD_SECONDS = 600.0
PROBE_SECONDS = 2.0
IN_PROCESS = "http://127.0.0.1"


class Transport:
    """Sends requests to the control plane that was named, the one of this home, or none.

    Args:
        home: the `PHOUNDRY_HOME` whose control plane, or whose files, are used.
        url: a control plane elsewhere; only that one is asked then.
        token: its token.
    """

    def __init__(self, home: Home, url: str | None = None, token: str | None = None) -> None:
        self.home = home
        self._named = url is not None
        self._http: httpx.Client | None = None
        self._in_process = False
        if url is not None:
            self._http = _open(url, token)

    def __repr__(self) -> str:
        return f"Transport(home={str(self.home.root)!r})"

    def one(self, kind: type[ViewT], method: str, path: str, **options: Any) -> ViewT:
        """The answer to `request` as a `kind`."""
        return kind.model_validate(self.request(method, path, **options))

    def many(self, kind: type[ViewT], path: str, **options: Any) -> list[ViewT]:
        """The list that GET answers, each item as a `kind`."""
        return [kind.model_validate(item) for item in self.request("GET", path, **options)]

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Any = None,
        starts: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Send one request and return the JSON that comes back.

        Args:
            params: query; a value of None is left out.
            content: an open file to send as the body.
            starts: the call needs a control plane: start one if none runs.
            timeout: seconds that the answer may take, if not the usual ones.

        Raises:
            PhoundryError: the error that the server answered, of its own class.
            Unavailable: nothing answers at the address.
        """
        import httpx

        seconds = timeout or (READ_SECONDS if content is None else UPLOAD_SECONDS)
        options: dict[str, Any] = {
            "params": {key: value for key, value in (params or {}).items() if value is not None},
            "json": json,
            "content": content,
            "timeout": httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        }
        return self._reach(
            lambda http: _answer(http.request(method, path, **options)),
            starts=starts,
            repeatable=content is None,
            safe=method == "GET",
        )

    @contextmanager
    def stream(
        self, path: str, *, params: Mapping[str, Any] | None = None
    ) -> Generator[Iterator[bytes]]:
        """GET `path` as pieces of bytes, while they come. Raises as `request` does."""
        import httpx

        query = {key: value for key, value in (params or {}).items() if value is not None}
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)

        def ask(http: httpx.Client) -> httpx.Response:
            request = http.build_request("GET", path, params=query, timeout=timeout)
            return http.send(request, stream=True)

        response = self._reach(ask)
        try:
            if not response.is_success:
                response.read()
                raise error_of(response.status_code, response.text)
            yield response.iter_bytes()
        finally:
            response.close()

    def _reach(
        self,
        ask: Callable[[httpx.Client], Any],
        *,
        starts: bool = False,
        repeatable: bool = False,
        safe: bool = False,
    ) -> Any:
        """What `ask` gets from the control plane, or from the services in this process.

        `repeatable`: asked once more where the answer is that our token is wrong: a control plane
        that was started again on the same port has another one. `safe`: asked once more where the
        connection ended without an answer, because asking changes nothing.

        Raises:
            Unavailable: nothing answers.
        """
        import httpx

        for attempt in (1, 2):
            http = self._client(starts=starts)
            try:
                return ask(http)
            except httpx.ConnectError:
                # Nothing was sent. This home's control plane may have moved or gone: look again.
                if self._named or attempt == 2:
                    raise _unreachable(str(http.base_url), named=self._named) from None
                self.close()
            except Unauthenticated:
                if self._named or attempt == 2 or not repeatable:
                    raise
                self.close()
            except httpx.TransportError as error:
                if safe and attempt == 1 and isinstance(error, httpx.RemoteProtocolError):
                    continue
                reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                raise Unavailable(
                    f"The control plane at {http.base_url} did not answer ({reason}).",
                    remedy="Look with `phoundry status`; its log is in the home's logs folder.",
                ) from None
        raise AssertionError("unreachable")

    def start(self, *, port: int | None = None, gateway_port: int | None = None) -> ServerInfo:
        """Start this home's control plane, detached, unless it runs; its addresses."""
        info, self._http = self._launch(port, gateway_port)
        return info

    def running(self) -> bool:
        """Whether a control plane answers this transport."""
        if self._http is None or self._in_process:
            self.close()
            self._http = _discover(self.home)
        return self._http is not None

    def alive(self) -> Callable[[], bool]:
        """A question whether the control plane that answers now is still there."""
        record: dict[str, Any] = {} if self._named else read_json(self.home.server_file) or {}
        if "pid" in record:
            workers = _server_module("phoundry.compute.workers")
            return lambda: workers.lives(record["pid"], record["create_time"])
        return self._answers

    def _answers(self) -> bool:
        import httpx

        if self._http is None:
            return False
        try:
            return self._http.get("/healthz", timeout=PROBE_SECONDS).is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Let go of open connections; the next request opens what it needs."""
        if self._http is not None and not self._named:
            self._http.close()
            self._http = None
            self._in_process = False

    def _client(self, *, starts: bool) -> httpx.Client:
        if self._in_process and (starts or self.home.server_file.exists()):
            self.close()  # a control plane is needed, or has started since
        if self._http is None:
            self._http = _discover(self.home)
        if self._http is not None:
            return self._http
        if starts:
            _, self._http = self._launch(None, None)
        else:
            self._http, self._in_process = _open_in_process(self.home), True
        return self._http

    def _launch(
        self, port: int | None, gateway_port: int | None
    ) -> tuple[ServerInfo, httpx.Client]:
        launch = _server_module("phoundry.server.launch")
        info: ServerInfo = launch.ensure_running(self.home, port=port, gateway_port=gateway_port)
        self.close()
        return info, _open(info.url, info.token)


def connect(
    home: Home | None = None, url: str | None = None, token: str | None = None
) -> Transport:
    """A transport as the arguments say, else as the environment says."""
    settings = Settings()
    return Transport(
        home or Home.current(),
        url or settings.url,
        token or settings.token if url or settings.url else None,
    )


def segment(name: str) -> str:
    """A name as one segment of a path. Raises UsageError for what no resource can be called."""
    if name in ("", ".", ".."):
        raise UsageError(f"'{name}' is not a name.")
    return quote(name, safe="")


def _open(url: str, token: str | None) -> httpx.Client:
    import httpx

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # A proxy of the environment must never get in the way to this machine itself.
    host = httpx.URL(url).host
    local = host in ("localhost", "::1") or host.startswith("127.")
    # Well before the server lets go of a quiet connection (uvicorn: 5 s): no request is sent
    # into one that it is just closing.
    limits = httpx.Limits(keepalive_expiry=KEPT_SECONDS)
    return httpx.Client(base_url=url, headers=headers, trust_env=not local, limits=limits)


def _discover(home: Home) -> httpx.Client | None:
    """A client of the control plane that runs on this home, or None."""
    import httpx

    info = read_json(home.server_file)
    if not info:
        return None
    http = _open(info["url"], info["token"])
    try:
        if http.get("/healthz", timeout=PROBE_SECONDS).is_success:
            return http
    except httpx.TransportError:
        pass
    http.close()
    return None


def _open_in_process(home: Home) -> httpx.Client:
    import httpx

    from phoundry.client.in_process import InProcessTransport

    app = _server_module("phoundry.server.app").create_app(home)
    headers = {"Authorization": f"Bearer {app.state.token}"}
    return httpx.Client(base_url=IN_PROCESS, headers=headers, transport=InProcessTransport(app))


def _server_module(name: str) -> Any:
    """A module of the server room. Raises MissingDependency without the `server` extra."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "phoundry":
            raise
        missing = MissingDependency.extra  # named first: ruff takes `.extra(…)` for Django's
        raise missing(error.name, "server", "The control plane") from None


def _unreachable(address: str, *, named: bool) -> Unavailable:
    remedy = "Check PHOUNDRY_URL." if named else "Start it with `phoundry up`."
    return Unavailable(f"Nothing answers at {address}.", remedy=remedy)


def _answer(response: httpx.Response) -> Any:
    """The JSON of a good answer. Raises the error of a bad one."""
    if response.is_success:
        return response.json() if response.content else None
    raise error_of(response.status_code, response.text)


def error_of(status: int, text: str) -> PhoundryError:
    """The error in a reply's body, or, where it holds none of ours, the one for its status."""
    error = _error_body(text)
    if str(error.get("code")) in tree():
        return from_dict(error)
    kind = next((e for e in tree().values() if e.status == status), PhoundryError)
    message: str = error.get("message") or f"The server answered {status}: {text[:300] or '-'}"
    return kind(message)


def _error_body(text: str) -> dict[str, Any]:
    """The object under "error" of a JSON text, or an empty one."""
    try:
        body = json_text.loads(text)
    except ValueError:
        return {}
    error = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {}
