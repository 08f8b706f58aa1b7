"""Where things are and how they are set: the one place that reads the environment.

Everything is resolved when it is asked for, never at import, so that a test or a notebook can set
a variable and go on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phoundry.errors import UsageError

DEFAULT_PORT = 7410
DEFAULT_GATEWAY_PORT = 7411
_NO = ("0", "off", "no", "false")
_YES = ("1", "on", "yes", "true")  # as `huggingface_hub` has it
LONGEST_FOLDER = 200  # characters; file systems take 255, and a name may have as many

# Who holds the token may do everything: it is for commands, and no child process needs it.
_WITHHELD = frozenset({"PHOUNDRY_TOKEN", "PHOUNDRY_FLOW_KEY"})


def child_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process that we start: ours (or `environ`) without our token."""
    found = os.environ if environ is None else environ
    return {name: text for name, text in found.items() if name not in _WITHHELD}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment that is read. `default` in words; `secret`: never shown."""

    name: str
    meaning: str
    default: str
    secret: bool = False


VARIABLES = (
    Variable(
        "PHOUNDRY_HOME",
        "state: database, blobs, models, logs, key file",
        "the platform's data folder",
    ),
    Variable("PHOUNDRY_URL", "a control plane elsewhere", "the one of this home"),
    Variable("PHOUNDRY_TOKEN", "its token", "the one of this home", secret=True),
    Variable(
        "PHOUNDRY_FLOW_KEY", "key that requests to a served flow must carry", "none", secret=True
    ),
    Variable("PHOUNDRY_HOST", "address to listen on", "127.0.0.1"),
    Variable("PHOUNDRY_PORT", "port of the control plane", "7410, or the next free one"),
    Variable("PHOUNDRY_GATEWAY_PORT", "port of the endpoints", "7411, or the next free one"),
    Variable("PHOUNDRY_WORKSPACE", "workspace", "default"),
    Variable(
        "PHOUNDRY_MEMORY_LIMIT",
        "bytes that jobs and replicas may plan with",
        "what the machine has",
    ),
    Variable("HF_ENDPOINT", "the hub, or a mirror of it", "https://huggingface.co"),
    Variable("HF_TOKEN", "token for gated models and data", "what `hf auth login` kept", True),
    Variable("HF_HOME", "where the hub's own tools keep what they fetched", "~/.cache/huggingface"),
    Variable("HF_HUB_CACHE", "where of that what was downloaded is", "hub in HF_HOME"),
    Variable("HF_HUB_OFFLINE", "1: ask no hub, use what is cached", "0"),
    Variable("PHOUNDRY_TRACING", "off: keep no traces of flows", "on"),
    Variable(
        "PHOUNDRY_ENVIRONMENTS", "off: run flows with this Python whatever they require", "on"
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "a collector that traces are sent to, too, over HTTP",
        "they are sent nowhere",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "the same, as a whole address", "not set"),
    Variable("OTEL_EXPORTER_OTLP_HEADERS", "headers for it, as name=value,…", "none", True),
    Variable("NO_COLOR", "anything: no colours", "colours on a terminal"),
    Variable("FORCE_COLOR", "anything: colours also where there is no terminal", "not set"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A view of the environment: the variables of `VARIABLES`, each read when it is asked for.

    Every option of the command line may stand in a variable of its own, too: see `cli/commands.py`.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def home(self) -> Path:
        if chosen := self.environ.get("PHOUNDRY_HOME"):
            return Path(chosen).expanduser().absolute()
        import platformdirs

        return platformdirs.user_data_path("phoundry", appauthor=False)

    @property
    def url(self) -> str | None:
        return self.environ.get("PHOUNDRY_URL") or None

    @property
    def token(self) -> str | None:
        return self.environ.get("PHOUNDRY_TOKEN") or None

    @property
    def flow_key(self) -> str | None:
        """What a request to `phoundry flow serve` must carry, if the user says so."""
        return self.environ.get("PHOUNDRY_FLOW_KEY") or None

    @property
    def host(self) -> str:
        return self.environ.get("PHOUNDRY_HOST") or "127.0.0.1"

    @property
    def port(self) -> int | None:
        """The port the user named, or None."""
        return self._port("PHOUNDRY_PORT")

    @property
    def gateway_port(self) -> int | None:
        return self._port("PHOUNDRY_GATEWAY_PORT")

    @property
    def workspace(self) -> str:
        return self.environ.get("PHOUNDRY_WORKSPACE") or "default"

    @property
    def memory_limit(self) -> int | None:
        """Bytes, or None for what the machine has."""
        text = self.environ.get("PHOUNDRY_MEMORY_LIMIT")
        if not text:
            return None
        if not text.isdigit():
            raise UsageError(
                f"PHOUNDRY_MEMORY_LIMIT is '{text}', which is not a number of bytes.",
                remedy="Set it to a whole number, such as 4000000000, or unset it.",
            )
        return int(text)

    @property
    def hub_endpoint(self) -> str | None:
        """Address of the hub that the user named, without a slash at its end, or None."""
        return (self.environ.get("HF_ENDPOINT") or "").rstrip("/") or None

    @property
    def hub_offline(self) -> bool:
        """Whether no hub may be asked."""
        return self.environ.get("HF_HUB_OFFLINE", "").lower() in _YES

    @property
    def hub_token_given(self) -> bool:
        """Whether the environment has a token. The token itself is for `huggingface_hub` alone."""
        return bool(self.environ.get("HF_TOKEN"))

    @property
    def hub_cache(self) -> Path | None:
        """Where the hub's own tools keep what they fetched, if the user says so."""
        if chosen := self.environ.get("HF_HUB_CACHE"):
            return Path(chosen).expanduser()
        if home := self.environ.get("HF_HOME"):
            return Path(home).expanduser() / "hub"
        return None

    @property
    def tracing(self) -> bool:
        """Whether traces of flows are kept."""
        return self.environ.get("PHOUNDRY_TRACING", "").lower() not in _NO

    @property
    def environments(self) -> bool:
        """Whether a flow's requirements.txt gets it an environment of its own."""
        return self.environ.get("PHOUNDRY_ENVIRONMENTS", "").lower() not in _NO

    @property
    def collector(self) -> str | None:
        """The whole address that traces are sent to over OTLP/HTTP, or None: nowhere."""
        if whole := self.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            return whole
        base = self.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        return f"{base.rstrip('/')}/v1/traces" if base else None

    @property
    def collector_headers(self) -> dict[str, str]:
        """Headers for the collector: `name=value,…`, both percent-encoded."""
        from urllib.parse import unquote

        text = self.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
        pairs = [pair.partition("=") for pair in text.split(",") if "=" in pair]
        return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}

    def lively(self, *, terminal: bool) -> bool:
        """Whether lines may be written over: on a terminal that can (not TERM=dumb)."""
        return terminal and self.environ.get("TERM") != "dumb"

    def coloured(self, *, terminal: bool) -> bool:
        """Whether to write colours: NO_COLOR first, then FORCE_COLOR, then what is written to."""
        if self.environ.get("NO_COLOR"):
            return False
        return bool(self.environ.get("FORCE_COLOR")) or self.lively(terminal=terminal)

    def _port(self, variable: str) -> int | None:
        text = self.environ.get(variable)
        if not text:
            return None
        if not text.isdigit() or not 1 <= int(text) <= 65535:
            raise UsageError(
                f"{variable} is '{text}', which is not a port.",
                remedy="Set it to a whole number from 1 to 65535, or unset it.",
            )
        return int(text)


@dataclass(frozen=True, slots=True)
class Home:
    """The layout of one `PHOUNDRY_HOME`. Nothing is created by asking for a path."""

    root: Path

    @classmethod
    def current(cls) -> Home:
        return cls(Settings().home)

    def make(self) -> None:
        """Make the folder, for this user alone (mode 0700), where there is none."""
        if not self.root.exists():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)

    @property
    def database(self) -> Path:
        return self.root / "phoundry.db"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def mlflow(self) -> Path:
        """Tracking database and artifacts; MLflow is the one registry of models."""
        return self.root / "mlflow"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.mlflow / 'mlflow.db'}"

    @property
    def checkpoints(self) -> Path:
        """Materialised base models (Hugging Face layout), one folder each."""
        return self.root / "checkpoints"

    @property
    def cache(self) -> Path:
        """Files that can be made again: downloads and GGUF conversions."""
        return self.root / "cache"

    @property
    def runs(self) -> Path:
        """One folder a worker: spec, events, log, result, output."""
        return self.root / "runs"

    def run(self, kind: str, *names: str) -> Path:
        """The folder of the worker of one resource: a different one for different names.

        Names are joined by a dot, which names of endpoints and deployments never have: with a
        hyphen the deployment `b-c` of `a` would share the folder of `c` of `a-b`.
        """
        text = f"{kind}-{'.'.join(names)}"
        if len(text) > LONGEST_FOLDER:
            import hashlib

            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            text = f"{text[:LONGEST_FOLDER]}-{digest}"
        return self.runs / text

    @property
    def collected(self) -> Path:
        """What deployments with a `data_collector` were asked and answered, by their names."""
        return self.root / "collected"

    @property
    def traces(self) -> Path:
        """What runs of flows did; a database of its own that nothing else depends on."""
        return self.root / "traces.db"

    @property
    def environments(self) -> Path:
        """Environments of flows with a `requirements.txt`, one a hash; can be made again."""
        return self.root / "environments"

    @property
    def backups(self) -> Path:
        """Copies of the database, made before each upgrade; the newest three are kept."""
        return self.root / "backups"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def vault_key(self) -> Path:
        return self.root / "vault.key"

    @property
    def server_file(self) -> Path:
        """Address and token of the running control plane (mode 0600)."""
        return self.root / "server.json"

    @property
    def server_lock(self) -> Path:
        return self.root / "server.lock"

    @property
    def routes(self) -> Path:
        """The gateway's routing table (mode 0600)."""
        return self.root / "gateway" / "routes.json"
