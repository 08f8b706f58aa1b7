"""Models: registered versions, and base models of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from phoundry.client.checking import checked
from phoundry.client.paths import located
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import wait_for
from phoundry.errors import Conflict
from phoundry.files import copy_to
from phoundry.specs.catalog import CatalogModel
from phoundry.specs.engine_speeds import EngineSpeeds
from phoundry.specs.model import Model, ModelFiles, ModelSpec
from phoundry.specs.names import split_version
from phoundry.specs.quantization import Quantization


class Models:
    """`client.models`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def register(
        self,
        name: str,
        job: str | None = None,
        *,
        path: str | Path | None = None,
        base: str | None = None,
        description: str = "",
    ) -> Model:
        """Begin to register a job's model, or one trained elsewhere, as the next version of `name`.

        `path`: a Hugging Face folder, a PEFT adapter's folder or a .gguf file that the control
        plane can read; `base`: the adapter's base model, if not the one that it names.
        """
        values = {
            "name": name,
            "job": job,
            "path": None if path is None else str(Path(path).expanduser().absolute()),
            "base": None if base is None else located(base),
            "description": description,
        }
        spec = checked(ModelSpec, values, "The model")
        body = spec.model_dump(mode="json", exclude_none=True)
        return self._transport.one(Model, "POST", "/api/models", json=body, starts=True)

    def show(self, reference: str) -> Model:
        """`NAME` (the newest version) or `NAME:VERSION`."""
        name, version = split_version(reference)
        return self._transport.one(
            Model, "GET", f"/api/models/{segment(name)}", params={"version": version}
        )

    def wait(
        self,
        reference: str,
        on_change: Callable[[Model], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Model:
        """The model version once it is Ready or Failed."""
        return wait_for(
            lambda: self.show(reference),
            lambda model: model.status != "Registering",
            on_change=on_change,
            alive=self._transport.running,
            timeout=timeout,
            what=f"Model {reference}",
        )

    def export(
        self,
        reference: str,
        out: str | Path,
        *,
        quantization: Quantization | None = None,
        on_change: Callable[[ModelFiles], None] | None = None,
    ) -> ModelFiles:
        """Copy a model's files to `out`: its Hugging Face folder, or one GGUF file.

        A base model that is not here yet is fetched, a GGUF that does not exist is converted.

        Args:
            reference: a registered model, a name of the catalog, a hub id, a folder or a .gguf.
            quantization: the kind of the GGUF; None: the folder with config, tokenizer, weights.

        Raises:
            Conflict: there is something at `out` already.
            NotFound: the reference names nothing.
        """
        place = Path(out).expanduser()
        if place.exists():
            raise Conflict(f"There is something at {place} already.", remedy="Choose another path.")
        params = {"model": located(reference), "quantization": quantization}
        found = wait_for(
            lambda: self._transport.one(
                ModelFiles, "POST", "/api/model-files", params=params, starts=True
            ),
            lambda files: files.path is not None,
            on_change=on_change,
            alive=self._transport.running,
            timeout=None,
            what=f"Model {reference}",
        )
        copy_to(Path(str(found.path)), place)
        return found

    def benchmark(
        self,
        reference: str,
        *,
        quantization: Quantization | None = None,
        again: bool = False,
        on_change: Callable[[EngineSpeeds], None] | None = None,
    ) -> EngineSpeeds:
        """How fast the engines of this machine serve a model; measured unless it is known.

        Deployments with `engine: auto` take the fastest. Measure while little else runs.

        Args:
            reference: a registered model, a name of the catalog, a hub id, a folder or a .gguf.
            quantization: the kind of the GGUF; None: Q8_0.
            again: measure anew what was measured.

        Raises:
            NotFound: the reference names nothing.
        """
        params = {"model": located(reference), "quantization": quantization}

        def ask(anew: bool = False) -> EngineSpeeds:
            return self._transport.one(
                EngineSpeeds,
                "POST",
                "/api/engine-speeds",
                params={**params, "again": anew},
                starts=True,
            )

        if again:
            ask(anew=True)
        return wait_for(
            ask,
            lambda found: found.measured,
            on_change=on_change,
            alive=self._transport.running,
            timeout=None,
            what=f"The measurement of {reference}",
        )

    def catalog(self, search: str | None = None) -> Sequence[CatalogModel]:
        """Base models of the catalog, with what they need of the control plane's machine.

        `search`: words that name, hub id, alias, family or licence must all have.
        """
        return self._transport.many(CatalogModel, "/api/catalog", params={"search": search})

    def base(
        self,
        name: str,
        *,
        max_seq_length: int | None = None,
        context_length: int | None = None,
    ) -> CatalogModel:
        """A base model: of the catalog, of a hub, a folder or a .gguf file.

        `max_seq_length` and `context_length`: tokens of a training row, and of a conversation that
        is served, which `needs` is for.

        Raises:
            NotFound: the name stands for nothing.
            Unavailable: a hub cannot be reached.
        """
        params = {
            "name": located(name),
            "max_seq_length": max_seq_length,
            "context_length": context_length,
        }
        return self._transport.one(CatalogModel, "GET", "/api/catalog/entry", params=params)

    def list(self) -> Sequence[Model]:
        return self._transport.many(Model, "/api/models")
