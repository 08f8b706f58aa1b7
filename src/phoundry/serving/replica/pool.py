"""One process for several fine-tunes of one base: `python -m phoundry.serving.replica.pool FOLDER`.

The base is loaded once (`engines/llamacpp_shared.py`); each member (`replica/member.py`) has its
adapter, port, token, defaults and metrics, as if it were alone. FOLDER holds

    spec.json    gguf_path, context_length, slots, threads: what members have in common
    pool.json    {port, key, pid}, mode 0600: where members ask, and with what; removed at the end
    lock         held while it lives
    log.txt      its output, and llama.cpp's

A member says `{key, run_dir}` and hears `{port, context_length, slots, pid}` or `{error}`; later it
says `{stop: true}` and hears `{ended: true}` once its requests have. Where it is gone silently,
they end as well. The process ends a moment after its last member, and at once when llama.cpp has.
"""

from __future__ import annotations

import asyncio
import ctypes
import hmac
import json
import os
import secrets
import sys
import time
import traceback
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from phoundry.data import ChatTokenizer
from phoundry.errors import PhoundryError, WorkerFailed
from phoundry.files import PRIVATE, read_json, sha256_files, write_json
from phoundry.serving.engines.llamacpp_shared import SharedLlamaCpp
from phoundry.serving.listen import bind, port_of, run, serve
from phoundry.serving.replica.assembly import Replica, assemble, checked_defaults, engine_spec
from phoundry.worker import claim, leave_out_what_no_worker_needs

_IDLE_SECONDS = 3.0  # without a member, after which it ends
_FIRST_SECONDS = 60.0  # that the first member has to come
_WARM_SECONDS = 600.0  # for the first token of a member; longer, and llama.cpp hangs
_HELLO_SECONDS = 10.0
_TOKENIZERS = 4  # remembered; fine-tunes of one base have one


class Tenant:
    """One member while it is served."""

    def __init__(self, made: Replica) -> None:
        self._made = made
        self._listener = bind("127.0.0.1", 0)
        self._told = asyncio.Event()
        self._ready = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def begin(self) -> int:
        """Serve; returns the port once a first token has been generated.

        Raises:
            PhoundryError: what the first generation failed with.
        """
        self._serving = asyncio.create_task(self._serve())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({self._serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._serving.done():
            self._serving.result()
            raise WorkerFailed("The server of this replica ended as it began.")
        return port_of(self._listener)

    async def end(self) -> None:
        """Let what is being answered end; one that has not begun to serve never does."""
        self._told.set()
        if self._serving is None:
            return
        if not self._ready.is_set():
            self._serving.cancel()
        with suppress(asyncio.CancelledError, PhoundryError):
            await self._serving

    async def _serve(self) -> None:
        try:
            await serve(
                self._made.application,
                self._listener,
                started=self._started,
                stopping=lambda: None,
                grace_seconds=self._made.grace_seconds,
                told=self._told,
            )
        finally:
            self._listener.close()
            await self._made.close()

    async def _started(self) -> None:
        await self._made.warm_up()
        self._ready.set()


class Pool:
    """All members of one base."""

    def __init__(self, spec: dict[str, Any], key: str) -> None:
        self._shared = SharedLlamaCpp(engine_spec(spec, frozenset()))
        self._key = key
        self._members = 0
        self._left_at = time.monotonic() + _FIRST_SECONDS - _IDLE_SECONDS
        self._hangs = False
        self._tokenizers: OrderedDict[str, ChatTokenizer] = OrderedDict()

    async def until_idle(self) -> None:
        """Return some time after the last member.

        Raises:
            WorkerFailed: llama.cpp has ended, or hangs.
        """
        while self._members or time.monotonic() - self._left_at < _IDLE_SECONDS:
            if self._shared.lost.is_set():
                raise WorkerFailed("llama.cpp has ended.")
            if self._hangs:
                raise WorkerFailed(f"llama.cpp gave no token within {_WARM_SECONDS:g} s.")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shared.lost.wait(), 0.5)

    async def close(self) -> None:
        await self._shared.close()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One member, from its first word to its end."""
        self._members += 1
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                said: dict[str, Any] = json.loads(await reader.readline())
            if hmac.compare_digest(str(said["key"]), self._key):
                await self._host(Path(said["run_dir"]), reader, writer)
        except (TimeoutError, ValueError, KeyError, ConnectionError) as error:
            sys.stderr.write(f"a member left or was not understood: {error!r}\n")
        finally:
            self._members -= 1
            self._left_at = time.monotonic()
            writer.close()

    async def _host(
        self, run_dir: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        leaving = asyncio.create_task(reader.readline())
        opening = asyncio.create_task(self._open(run_dir))
        await asyncio.wait({leaving, opening}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
        try:
            tenant, port = await opening
        except asyncio.CancelledError:
            return  # it left before it was served
        except PhoundryError as error:
            await _tell(writer, error=error.to_dict())
            return
        except Exception as error:  # noqa: BLE001 - one member's fault must not end the others
            traceback.print_exc()
            unexpected = WorkerFailed(f"The shared process failed: {type(error).__name__}.")
            await _tell(writer, error=unexpected.to_dict())
            return
        try:
            spec = self._shared.spec
            facts = {"context_length": spec.context_length, "slots": spec.slots}
            await _tell(writer, port=port, pid=os.getpid(), **facts)
            await leaving
        finally:
            await tenant.end()
        await _tell(writer, ended=True)

    async def _open(self, run_dir: Path) -> tuple[Tenant, int]:
        spec: dict[str, Any] = read_json(run_dir / "spec.json")
        tokenizer = self._tokenizer(Path(spec["tokenizer_dir"]))
        defaults = checked_defaults(spec, run_dir, tokenizer)
        ends = frozenset(tokenizer.end_token_ids)
        engine = await self._shared.adapted(Path(spec["adapter_path"]), ends)
        tenant = Tenant(assemble(spec, run_dir, engine, tokenizer, defaults))
        try:
            async with asyncio.timeout(_WARM_SECONDS):
                return tenant, await tenant.begin()
        except TimeoutError:
            self._hangs = True
            raise WorkerFailed("llama.cpp hangs: the shared process is started again.") from None
        except BaseException:
            await tenant.end()
            raise

    def _tokenizer(self, folder: Path) -> ChatTokenizer:
        """One for all members whose files are alike: it takes as much memory as a small adapter."""
        files = [path for path in folder.glob("*.json") if path.name in _TOKENIZER_FILES]
        files += folder.glob("*.jinja")
        key = sha256_files(sorted(files)) + ",".join(sorted(path.name for path in files))
        if key not in self._tokenizers:
            self._tokenizers[key] = ChatTokenizer.load(folder)
            _give_back_memory()
            if len(self._tokenizers) > _TOKENIZERS:
                self._tokenizers.popitem(last=False)
        return self._tokenizers[key]


def _give_back_memory() -> None:
    """What reading a tokenizer has left free, and glibc keeps: as much as an adapter and more."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(0)


_TOKENIZER_FILES = (
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


async def _tell(writer: asyncio.StreamWriter, **message: Any) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


async def _serve(folder: Path, spec: dict[str, Any]) -> None:
    key = secrets.token_urlsafe(32)
    pool = Pool(spec, key)
    server = await asyncio.start_server(pool.meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = {"port": port, "key": key, "pid": os.getpid()}
    write_json(folder / "pool.json", where, mode=PRIVATE)
    try:
        await pool.until_idle()
    finally:
        (folder / "pool.json").unlink(missing_ok=True)
        server.close()
        await pool.close()


def main(folder: Path) -> int:
    """Serve members until there are none; the exit code."""
    leave_out_what_no_worker_needs()
    try:
        claim(folder)
        run(_serve(folder, read_json(folder / "spec.json")))
    except PhoundryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    if os.fork():  # nobody's child: see `member._start`
        os._exit(0)
    sys.exit(main(Path(sys.argv[1])))
