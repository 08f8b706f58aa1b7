"""The engines on a tiny model: llama.cpp, transformers' generate and ours say the same."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput, ModelError, NotFound
from phoundry.models.convert import convert
from phoundry.models.tensors import sha256_weights
from phoundry.serving.engines.base import (
    Delta,
    Engine,
    EngineSpec,
    SamplingParams,
    TokenLogprob,
)
from phoundry.serving.engines.llamacpp import LlamaCppClient, LlamaCppEngine
from phoundry.serving.engines.llamacpp_server import to_line
from phoundry.serving.engines.llamacpp_wire import Listener
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.replica.generation import Ask, Generator
from phoundry.serving.replica.json_schema import written
from tests.serving.conftest import chat
from tests.serving.processes import replica_spec, start
from tests.serving.undecodable import Undecodable
from tests.support.tiny_tokenizer import make_tiny_tokenizer

CONTEXT = 128


@dataclass(frozen=True)
class Tiny:
    spec: EngineSpec
    prompt: list[int]


@pytest.fixture(scope="module", params=["llama", "phi3"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A random model with a real tokenizer, as a checkpoint and as a GGUF of the same floats."""
    folder = tmp_path_factory.mktemp("tiny")
    made = make_tiny_tokenizer(folder, style="phi3" if request.param == "phi3" else "chatml")
    shape: dict[str, Any] = {
        "vocab_size": made.vocab_size,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": made.bos_id,
        "eos_token_id": made.eos_ids[0],
        "pad_token_id": made.pad_id,
    }
    torch.manual_seed(3)
    model = (
        Phi3ForCausalLM(Phi3Config(**shape))
        if request.param == "phi3"
        else LlamaForCausalLM(LlamaConfig(**shape))
    )
    with torch.no_grad():
        for parameter in model.parameters():  # spread the logits, so that ties don't decide
            parameter.mul_(3)
    model.save_pretrained(folder, safe_serialization=True)
    gguf = folder / "tiny.gguf"
    convert(folder, gguf, "F32")
    spec = EngineSpec(CONTEXT, 2, 1, frozenset(made.eos_ids), gguf, folder, folder)
    return Tiny(spec, [7, 40, 41, 90, 91, 17, 100])


async def _collect(engine: Engine, prompt: list[int], params: SamplingParams) -> list[Delta]:
    return [delta async for delta in engine.generate(prompt, params)]


def _with(name: str, spec: EngineSpec, use: Callable[[Engine], Any]) -> Any:
    """Run `use(engine)` in a loop of its own and close the engine there."""

    async def main() -> Any:
        engine = open_engine(name, spec)
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def _with_process(spec: EngineSpec, use: Callable[[Engine], Any]) -> Any:
    """`use(engine)` with a llama.cpp in a process of its own."""
    command = [sys.executable, "-m", "phoundry.serving.engines.llamacpp_server"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(to_line(spec, "key"))
        process.stdin.flush()
        address = json.loads(process.stdout.readline())["address"]
        found = asyncio.run(use(LlamaCppClient(Listener(address, "key"), spec)))
        process.stdin.close()
    return found


def _ids(deltas: list[Delta]) -> list[int]:
    return [token for delta in deltas for token in delta.token_ids]


def _reference(tiny: Tiny, count: int) -> list[int]:
    model: Any = AutoModelForCausalLM.from_pretrained(str(tiny.spec.checkpoint_dir))
    ids = torch.tensor([tiny.prompt])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=sorted(tiny.spec.end_token_ids),
    )
    answer: list[int] = output[0, len(tiny.prompt) :].tolist()
    return [token for token in answer if token not in tiny.spec.end_token_ids]


@pytest.mark.parametrize("name", ["llama.cpp", "transformers"])
def test_greedy_is_transformers_generate(tiny: Tiny, name: str) -> None:
    params = SamplingParams(max_tokens=40)
    deltas = _with(name, tiny.spec, lambda engine: _collect(engine, tiny.prompt, params))
    expected = _reference(tiny, 40)
    ids = _ids(deltas)
    if name == "transformers":
        assert ids == expected
    else:
        # llama.cpp sends text by whole characters: ids of a character's first bytes are not sent.
        rest = iter(expected)
        assert all(token in rest for token in ids)
        assert ids
    assert deltas[-1].tokens == len(expected)
    assert deltas[-1].finish_reason == ("length" if len(expected) == 40 else "stop")
    assert all(delta.finish_reason is None for delta in deltas[:-1])


@pytest.mark.parametrize("name", ["llama.cpp", "transformers"])
def test_a_seed_repeats_and_sampling_varies(tiny: Tiny, name: str) -> None:
    async def use(engine: Engine) -> list[str]:
        texts: list[str] = []
        for seed in (1, 1, 2, 3):
            params = SamplingParams(max_tokens=16, temperature=1.5, seed=seed)
            deltas = await _collect(engine, tiny.prompt, params)
            texts.append("".join(delta.text for delta in deltas))
        return texts

    first, again, *others = _with(name, tiny.spec, use)
    assert first == again
    assert any(other != first for other in others)


@pytest.mark.parametrize("name", ["llama.cpp", "transformers"])
def test_closing_early_frees_the_engine(tiny: Tiny, name: str) -> None:
    async def use(engine: Engine) -> list[int]:
        for _ in range(2 * engine.slots + 1):
            params = SamplingParams(max_tokens=100, temperature=1.0, seed=1)
            async with aclosing(engine.generate(tiny.prompt, params)) as deltas:
                await anext(deltas)
        return [len(_ids(await _collect(engine, tiny.prompt, SamplingParams(max_tokens=3))))]

    assert _with(name, tiny.spec, use) != [0]


@pytest.mark.parametrize("name", ["llama.cpp", "transformers"])
def test_several_at_once_answer_as_one_alone(tiny: Tiny, name: str) -> None:
    async def use(engine: Engine) -> list[list[Delta]]:
        params = SamplingParams(max_tokens=12)
        alone = await _collect(engine, tiny.prompt, params)
        many = [_collect(engine, tiny.prompt, params) for _ in range(4)]
        return [alone, *await asyncio.gather(*many)]

    alone, *many = _with(name, tiny.spec, use)
    assert [_ids(deltas) for deltas in many] == [_ids(alone)] * 4


def test_a_whole_answer_is_the_stream_in_one(tiny: Tiny) -> None:
    params = SamplingParams(max_tokens=40)

    async def use(engine: Engine) -> list[list[Delta]]:
        asked = (params, replace(params, whole=True), replace(params, exact_ids=True))
        return [await _collect(engine, tiny.prompt, each) for each in asked]

    stream, [whole], [exact] = _with("llama.cpp", tiny.spec, use)
    assert whole.text == "".join(delta.text for delta in stream)
    assert (whole.tokens, whole.finish_reason) == (stream[-1].tokens, stream[-1].finish_reason)
    assert list(exact.token_ids) == _reference(tiny, 40)
    assert (exact.tokens, exact.finish_reason) == (whole.tokens, whole.finish_reason)


def test_a_whole_answer_with_a_stop_string_is_the_stream_in_one(tiny: Tiny) -> None:
    """Also where the limit ends it at what begins a stop string."""

    async def use(engine: Engine) -> None:
        assert tiny.spec.tokenizer_dir is not None
        generator = Generator(engine, ChatTokenizer.load(tiny.spec.tokenizer_dir))
        for number in (5, 8, 12):
            ask = Ask((), SamplingParams(0), number, prompt_ids=tiny.prompt)
            said = (await generator.prepare(ask).whole()).text
            for stop in (f"{said[-1]}and no more", said[len(said) // 2]):
                prepared = generator.prepare(replace(ask, stop=(stop,)))
                whole = await prepared.whole()
                pieces = [piece async for piece in prepared.run()]
                assert whole.text == "".join(piece.text for piece in pieces)
                assert whole.text == said.partition(stop)[0]
                assert whole.finish_reason == pieces[-1].finish_reason

    _with("llama.cpp", tiny.spec, use)


def test_what_cannot_be_decoded_ends_its_answer(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tokenizers raises a bare Exception for bytes that are no text; nobody waits for ever."""
    monkeypatch.setattr("phoundry.serving.engines.transformers.DecodeStream", Undecodable)

    async def use(engine: Engine) -> None:
        params = SamplingParams(max_tokens=3)
        with pytest.raises(ModelError, match="Invalid prefix"):
            await asyncio.wait_for(_collect(engine, tiny.prompt, params), 20)

    _with("transformers", tiny.spec, use)


def test_an_end_token_that_the_gguf_does_not_know_ends_a_whole_answer(tiny: Tiny) -> None:
    """It is taken from the middle of the greedy answer, so that the model is sure to say it."""
    answer = _reference(tiny, 12)
    spec = replace(tiny.spec, end_token_ids=tiny.spec.end_token_ids | {answer[5]})

    async def use(engine: Engine) -> list[Delta]:
        return await _collect(engine, tiny.prompt, SamplingParams(max_tokens=12, whole=True))

    deltas = _with("llama.cpp", spec, use)
    assert deltas[-1].tokens == answer.index(answer[5])
    assert deltas[-1].finish_reason == "stop"


def test_likelihoods_are_those_of_the_reference(tiny: Tiny) -> None:
    params = SamplingParams(max_tokens=16, top_logprobs=3)

    def told(name: str) -> dict[int, TokenLogprob]:
        deltas = _with(name, tiny.spec, lambda engine: _collect(engine, tiny.prompt, params))
        return {token.token_id: token for delta in deltas for token in delta.logprobs}

    ours, theirs = told("llama.cpp"), told("transformers")
    assert set(ours) <= set(theirs)  # llama.cpp tells nothing of a character's first bytes
    assert len(ours) > 3
    for token, found in ours.items():
        expected = theirs[token]
        assert found.data.endswith(expected.data)  # those first bytes are told with the rest
        assert found.logprob == pytest.approx(expected.logprob, abs=0.02)
        assert [t.token_id for t in found.top] == [t.token_id for t in expected.top]
        # llama.cpp's cache is float16.
        assert found.top[0].logprob == pytest.approx(expected.top[0].logprob, abs=0.02)


def test_embeddings_are_those_of_the_reference(tiny: Tiny) -> None:
    async def use(engine: Engine) -> list[list[float]]:
        before = await engine.embed(tiny.prompt)
        await _collect(engine, tiny.prompt, SamplingParams(max_tokens=2))
        return [before, await engine.embed(tiny.prompt)]

    ours, again = _with("llama.cpp", tiny.spec, use)
    theirs, _ = _with("transformers", tiny.spec, use)
    assert sum(a * a for a in ours) == pytest.approx(1)
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert again == pytest.approx(ours, abs=1e-5)


def test_json_of_a_schema(tiny: Tiny) -> None:
    """A random model says anything, so what it says here is the schema's doing."""
    schema = written(
        {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}, "size": {"enum": ["S", "L"]}},
            "required": ["ok", "size"],
            "additionalProperties": False,
        }
    )
    contradiction = {"type": "string", "minLength": 3, "maxLength": 1}

    async def use(engine: Engine) -> str:
        params = SamplingParams(max_tokens=60, temperature=1, seed=5, json_schema=schema)
        deltas = await _collect(engine, tiny.prompt, params)
        for _ in range(2):  # found out once, remembered then
            with pytest.raises(InvalidInput, match="response_format"):
                await _collect(engine, tiny.prompt, replace(params, json_schema=contradiction))
        forced = replace(params, json_schema=contradiction, schema_parameter="tools")
        with pytest.raises(InvalidInput, match="tools"):
            await _collect(engine, tiny.prompt, forced)
        return "".join(delta.text for delta in deltas)

    found = json.loads(_with_process(tiny.spec, use))
    assert found.keys() == {"ok", "size"}
    assert found["ok"] in (True, False)
    assert found["size"] in ("S", "L")


def test_a_process_holds_one_file_to_schemas(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens stay in llama.cpp, where those of the next file may be taken for them."""
    monkeypatch.setattr(LlamaCppEngine, "_held", Path("other.gguf"))

    async def use(engine: Engine) -> None:
        params = SamplingParams(max_tokens=2, json_schema={"type": "object"})
        with pytest.raises(ModelError, match=r"other\.gguf.*process") as caught:
            await _collect(engine, tiny.prompt, params)
        assert "process of its own" in str(caught.value.remedy)
        assert await _collect(engine, tiny.prompt, replace(params, json_schema=None))

    _with("llama.cpp", tiny.spec, use)


@pytest.mark.parametrize("name", ["llama.cpp", "transformers"])
def test_an_engine_answers_while_it_generates(tiny: Tiny, name: str) -> None:
    async def use(engine: Engine) -> int:
        params = SamplingParams(max_tokens=100, temperature=1.0, seed=1)
        async with aclosing(engine.generate(tiny.prompt, params)) as deltas:
            tokens = (await anext(deltas)).tokens
            await engine.check()
            # To its end: llama.cpp may take half a minute to close after a stream is broken off.
            async for delta in deltas:
                tokens = delta.tokens
            return tokens

    assert _with(name, tiny.spec, use) > 1


def test_a_replica_on_llamacpp_serves_and_stops(tiny: Tiny, tmp_path: Path) -> None:
    """In a process: llama.cpp takes SIGTERM for itself when it loads, and we take it back."""
    spec = replica_spec(
        tiny.spec.tokenizer_dir or tmp_path,
        engine="llama.cpp",
        gguf_path=str(tiny.spec.gguf_path),
        context_length=CONTEXT,
    )
    worker = start("phoundry.serving.replica", tmp_path / "run", spec)
    headers = {"Authorization": "Bearer replica-token"}
    with httpx.Client(base_url=worker.url, headers=headers, timeout=60, trust_env=False) as client:
        whole = client.post("/v1/chat/completions", json=chat(max_tokens=12)).json()
        stream = client.post("/v1/chat/completions", json=chat(max_tokens=12, stream=True)).text
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert said == whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] <= 12
    assert worker.stop() == 0
    assert [event["kind"] for event in worker.events()] == ["started", "ready", "stopping"]


def test_a_file_that_is_no_model(tmp_path: Path, tiny: Tiny) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match=r"broken\.gguf"):
        open_engine("llama.cpp", EngineSpec(64, 1, 1, frozenset(), gguf_path=broken))
    with pytest.raises(ModelError, match="no model file"):
        open_engine("llama.cpp", EngineSpec(64, 1, 1, frozenset(), gguf_path=tmp_path / "none"))


def test_a_checkpoint_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
    spec = EngineSpec(64, 1, 1, frozenset(), checkpoint_dir=tmp_path, tokenizer_dir=tmp_path)
    with pytest.raises(ModelError, match="auto_map"):
        open_engine("transformers", spec)


def test_weights_that_changed_since_they_were_recorded_are_not_served(
    tiny: Tiny, tmp_path: Path
) -> None:
    assert tiny.spec.checkpoint_dir
    folder = tmp_path / "copy"
    shutil.copytree(tiny.spec.checkpoint_dir, folder)
    recorded = sha256_weights(folder)
    spec = replace(
        tiny.spec, checkpoint_dir=folder, weights=("model.safetensors",), sha256=recorded
    )

    async def answer(engine: Engine) -> list[Delta]:
        return await _collect(engine, tiny.prompt, SamplingParams(max_tokens=1))

    assert _with("transformers", spec, answer)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-9, 2)  # a weight, near the end
        byte = file.read(1)[0]
        file.seek(-9, 2)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ModelError, match=rf"have changed.*not {recorded[:12]}.*Do not serve"):
        open_engine("transformers", spec)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        open_engine("transformers", spec)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    made = make_tiny_tokenizer(tmp_path)
    config = LlamaConfig(vocab_size=made.vocab_size, hidden_size=32, intermediate_size=8)
    config.save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    spec = EngineSpec(64, 1, 1, frozenset(), checkpoint_dir=tmp_path, tokenizer_dir=tmp_path)
    with pytest.raises(ModelError, match="safetensors"):
        open_engine("transformers", spec)


def test_an_unknown_engine_and_a_missing_path() -> None:
    with pytest.raises(NotFound, match="vapour"):
        open_engine("vapour", EngineSpec(64, 1, 1, frozenset()))
    for name in ("llama.cpp", "transformers", "fake"):
        with pytest.raises(InvalidInput, match="needs"):
            open_engine(name, EngineSpec(64, 1, 1, frozenset()))
