"""The engine openvino: against a module that behaves as OpenVINO GenAI 2026.4 was seen to, and
against the real one where it is installed."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import importlib.util
import sys
import threading
from collections import deque
from contextlib import aclosing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from phoundry.errors import InvalidInput, MissingDependency, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, SamplingParams
from phoundry.serving.engines.openvino import OpenVinoEngine
from phoundry.serving.engines.registry import open_engine
from tests.serving.undecodable import Undecodable
from tests.support.tiny_tokenizer import TinyTokenizer, make_tiny_tokenizer

REFUSED = 99  # as the only token of a prompt


class Status(enum.Enum):
    RUNNING = 0
    FINISHED = 1
    CANCEL = 3


class Handle:
    """Echoes its prompt, a token a step; after a stop token it is finished, that token included."""

    def __init__(self, prompt: list[int], config: Any) -> None:
        self.left = deque(prompt[: config.max_new_tokens])
        self.stops: set[int] = config.stop_token_ids
        self.ready: list[int] = []
        self.status = Status.RUNNING

    def step(self) -> None:
        token = self.left.popleft()
        self.ready.append(token)
        if token in self.stops or not self.left:
            self.status = Status.FINISHED

    def get_status(self) -> Status:
        return self.status

    def can_read(self) -> bool:
        return bool(self.ready)

    def read(self) -> dict[int, Any]:
        ids, self.ready = self.ready, []
        return {0: SimpleNamespace(generated_ids=ids)}

    def cancel(self) -> None:
        self.status = Status.CANCEL


class Pipeline:
    """`ContinuousBatchingPipeline`: up to `max_num_seqs` requests step together."""

    made: ClassVar[list[Pipeline]] = []

    def __init__(self, path: str, scheduler: Any, device: str, properties: dict[str, Any]) -> None:
        if "cut" in path:
            raise RuntimeError("no GGUF")
        self.scheduler, self.properties = scheduler, properties
        self.handles: list[Handle] = []
        self.configs: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = self.stepping = self.once = False
        Pipeline.made.append(self)

    def add_request(self, number: int, ids: Any, config: Any) -> Handle:
        if ids.tolist()[0] == [REFUSED]:
            raise RuntimeError("bad prompt")
        self.configs.append(config)
        self.handles.append(Handle(ids.tolist()[0], config))
        return self.handles[-1]

    def has_non_finished_requests(self) -> bool:
        return any(handle.status is Status.RUNNING for handle in self.handles)

    def step(self) -> None:
        self.stepping = True
        self.gate.wait(20)
        if self.fails:
            raise RuntimeError("out of memory")
        running = [handle for handle in self.handles if handle.status is Status.RUNNING]
        for handle in running[: self.scheduler.max_num_seqs]:
            handle.step()
        if self.once:
            self.gate.clear()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "made", [])
    genai, core = ModuleType("openvino_genai"), ModuleType("openvino")
    for name in ("SchedulerConfig", "GenerationConfig"):
        setattr(genai, name, type(name, (SimpleNamespace,), {}))
    genai.GenerationStatus = Status  # pyright: ignore[reportAttributeAccessIssue]
    genai.ContinuousBatchingPipeline = Pipeline  # pyright: ignore[reportAttributeAccessIssue]
    core.Tensor = lambda array: array  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType]
    monkeypatch.setitem(sys.modules, "openvino_genai", genai)
    monkeypatch.setitem(sys.modules, "openvino", core)
    monkeypatch.setitem(sys.modules, "openvino_telemetry", ModuleType("openvino_telemetry"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TinyTokenizer:
    return make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def spec(tokenizer: TinyTokenizer, tmp_path: Path) -> EngineSpec:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    return EngineSpec(
        context_length=100,
        slots=2,
        threads=1,
        end_token_ids=frozenset(tokenizer.eos_ids),
        gguf_path=gguf,
        tokenizer_dir=tokenizer.folder,
    )


async def told(engine: OpenVinoEngine, ids: list[int], **params: Any) -> list[Delta]:
    return [delta async for delta in engine.generate(ids, SamplingParams(**params))]


def paced(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Look at streams each so many seconds, however many there are."""

    def pause(streams: int) -> float:
        return seconds

    monkeypatch.setattr("phoundry.serving.engines.openvino.pause", pause)


def run(spec: EngineSpec, talk: Any) -> Any:
    async def main() -> Any:
        engine = open_engine("openvino", spec)
        try:
            return await talk(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


@pytest.mark.usefixtures("library")
def test_requests_are_answered_together_and_end_by_their_reason(spec: EngineSpec) -> None:
    end = min(spec.end_token_ids)

    async def talk(engine: OpenVinoEngine) -> Any:
        return await asyncio.gather(
            told(engine, [40, 41, 42, 43], max_tokens=3),
            told(engine, [50, end, 51], max_tokens=3),
            told(engine, [60], max_tokens=1),
        )

    cut, ended, short = run(spec, talk)
    assert [token for delta in cut for token in delta.token_ids] == [40, 41, 42]
    assert (cut[-1].tokens, cut[-1].finish_reason) == (3, "length")
    assert [token for delta in ended for token in delta.token_ids] == [50]
    assert (ended[-1].tokens, ended[-1].finish_reason) == (1, "stop")
    assert [delta.finish_reason for delta in short] == ["length"]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("pause", "params", "pieces"),
    [
        (1000.0, {}, [1, 5]),  # the first token at once, and no look before the end
        (0.0, {}, [1, 2, 3, 4, 5]),
        (0.0, {"whole": True}, [5]),
        (0.0, {"whole": True, "stop": ("x",)}, [1, 2, 3, 4, 5]),  # it may end early
    ],
)
def test_tokens_are_handed_on_together(
    spec: EngineSpec,
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
    params: dict[str, Any],
    pieces: list[int],
) -> None:
    ids = [40, 41, 42, 43, 44]
    paced(monkeypatch, pause)

    async def talk(engine: OpenVinoEngine) -> Any:
        answer = await told(engine, ids, max_tokens=5, **params)
        return answer, await told(engine, ids, max_tokens=5, whole=True)

    answer, (whole,) = run(spec, talk)
    assert [delta.tokens for delta in answer] == pieces
    assert [token for delta in answer for token in delta.token_ids] == ids
    assert "".join(delta.text for delta in answer) == whole.text


@pytest.mark.usefixtures("library")
def test_a_step_wakes_the_loop_once_for_all_streams(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch, 0.0)

    async def talk(engine: OpenVinoEngine) -> int:
        loop, wakes = asyncio.get_running_loop(), 0
        wake = loop.call_soon_threadsafe

        def counted(*arguments: Any, **named: Any) -> asyncio.Handle:
            nonlocal wakes
            wakes += 1
            return wake(*arguments, **named)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        Pipeline.made[0].gate.clear()  # so that both are there before the second step
        asked = [told(engine, [40] * 20, max_tokens=20) for _ in range(2)]
        talks = [asyncio.create_task(each) for each in asked]
        await asyncio.sleep(0)
        Pipeline.made[0].gate.set()
        await asyncio.gather(*talks)
        return wakes

    assert 20 <= run(spec, talk) <= 21


@pytest.mark.usefixtures("library")
def test_the_cache_holds_every_slots_context(spec: EngineSpec) -> None:
    async def nothing(engine: OpenVinoEngine) -> None:
        await engine.check()

    run(spec, nothing)
    (pipeline,) = Pipeline.made
    assert pipeline.scheduler.max_num_seqs == 2
    assert pipeline.scheduler.num_kv_blocks * 32 >= 2 * spec.context_length
    assert pipeline.properties == {"INFERENCE_NUM_THREADS": 1}


@pytest.mark.usefixtures("library")
def test_sampling_is_asked_for_as_it_was_asked(spec: EngineSpec) -> None:
    async def talk(engine: OpenVinoEngine) -> None:
        await told(engine, [40], max_tokens=1)
        await told(engine, [40], max_tokens=1, temperature=0.5, top_p=0.9, top_k=7, seed=-1)
        for _ in range(2):
            await told(engine, [40], max_tokens=1, temperature=1.0)

    run(spec, talk)
    greedy, sampled, *unseeded = Pipeline.made[0].configs
    assert greedy.do_sample is False
    assert (sampled.do_sample, sampled.temperature, sampled.top_p) == (True, 0.5, 0.9)
    assert (sampled.top_k, sampled.rng_seed) == (7, 2**63 - 1)
    assert unseeded[0].rng_seed != unseeded[1].rng_seed
    assert all(config.stop_token_ids == set(spec.end_token_ids) for config in (greedy, sampled))


@pytest.mark.usefixtures("library")
def test_a_client_that_leaves_frees_its_place(spec: EngineSpec) -> None:
    async def talk(engine: OpenVinoEngine) -> None:
        pipeline = Pipeline.made[0]
        pipeline.once = True  # and no further, before the client has left
        async with aclosing(engine.generate([40] * 90, SamplingParams(90))) as answer:
            await anext(answer)
        pipeline.once = False
        pipeline.gate.set()
        await told(engine, [41], max_tokens=1)  # a step later it is out
        assert pipeline.handles[0].status is Status.CANCEL
        assert len(pipeline.handles[0].left) > 0

    run(spec, talk)


@pytest.mark.usefixtures("library")
def test_a_failure_reaches_everybody_and_the_engine_goes_on(spec: EngineSpec) -> None:
    async def talk(engine: OpenVinoEngine) -> None:
        Pipeline.made[0].fails = True
        with pytest.raises(ModelError, match="out of memory"):
            await told(engine, [40, 41], max_tokens=2)
        Pipeline.made[0].fails = False
        assert (await told(engine, [40], max_tokens=1))[-1].tokens == 1
        assert Pipeline.made[0].handles[0].status is Status.CANCEL  # its place was given back

    run(spec, talk)


@pytest.mark.usefixtures("library")
def test_a_request_that_is_refused_ends_no_other(spec: EngineSpec) -> None:
    async def talk(engine: OpenVinoEngine) -> Any:
        Pipeline.made[0].gate.clear()  # so that the last three begin in one round
        first = asyncio.create_task(told(engine, [40, 41], max_tokens=2))
        await asyncio.sleep(0)
        rest = [
            asyncio.create_task(told(engine, ids, max_tokens=2))
            for ids in ([50, 51], [REFUSED], [60, 61])
        ]
        await asyncio.sleep(0)
        Pipeline.made[0].gate.set()
        async with asyncio.timeout(20):
            return await asyncio.gather(first, *rest, return_exceptions=True)

    first, second, refused, last = run(spec, talk)
    assert [answer[-1].tokens for answer in (first, second, last)] == [2, 2, 2]
    assert isinstance(refused, ModelError)
    assert "bad prompt" in refused.message


@pytest.mark.usefixtures("library")
def test_who_waits_is_told_when_the_engine_is_closed(spec: EngineSpec) -> None:
    async def main() -> None:
        engine = OpenVinoEngine(spec)
        pipeline = Pipeline.made[0]
        pipeline.gate.clear()
        first = asyncio.create_task(told(engine, [40] * 50, max_tokens=50))
        while not pipeline.stepping:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(told(engine, [41] * 50, max_tokens=50))
        await asyncio.sleep(0)  # it is asked for, and not begun
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        pipeline.gate.set()
        await closing
        async with asyncio.timeout(20):
            found = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(each) for each in found] == [ModelError, ModelError]

    asyncio.run(main())


@pytest.mark.usefixtures("library")
def test_what_cannot_be_decoded_ends_its_answer(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.serving.engines.openvino.DecodeStream", Undecodable)

    async def talk(engine: OpenVinoEngine) -> None:
        with pytest.raises(ModelError, match="Invalid prefix"):
            await told(engine, [40], max_tokens=1)

    run(spec, talk)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_what_it_cannot_do_is_refused_by_name(spec: EngineSpec, name: str) -> None:
    async def talk(engine: OpenVinoEngine) -> None:
        with pytest.raises(InvalidInput, match=name):
            await told(engine, [40], max_tokens=1, **{name: 0.5})

    run(spec, talk)


@pytest.mark.usefixtures("library")
def test_a_file_that_it_cannot_read(spec: EngineSpec, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(b"GG")
    broken = dataclasses.replace(spec, gguf_path=cut)
    with pytest.raises(ModelError, match="Llama and Qwen"):
        open_engine("openvino", broken)


@pytest.mark.usefixtures("library")
def test_nothing_is_counted_anywhere(spec: EngineSpec) -> None:
    async def nothing(engine: OpenVinoEngine) -> None:
        assert sys.modules["openvino_telemetry"] is None

    run(spec, nothing)


@pytest.mark.skipif(
    importlib.util.find_spec("openvino_genai") is not None, reason="openvino-genai is installed"
)
def test_without_its_package(spec: EngineSpec) -> None:
    with pytest.raises(MissingDependency, match="openvino"):
        open_engine("openvino", spec)
