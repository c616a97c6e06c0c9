"""The models that can be called and every name they go by: `Catalog.resolve`.

Prices live in `gateway.catalog.prices`; which providers are configured is the caller's knowledge. Pure: the data
file is read by `gateway.catalog.loader`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from gateway.catalog import names

CHAT: Final = "chat"
EMBEDDING: Final = "embedding"


@dataclass(frozen=True, slots=True)
class Provider:
    """A company whose API serves models. A policy of None is unknown: it satisfies no demand for privacy."""

    slug: str
    name: str
    aliases: tuple[str, ...]
    may_train: bool | None
    zero_data_retention: bool | None
    retention_days: int | None = None  # how long prompts are kept where zero retention is not agreed
    region: str = ""  # where data is processed, as the provider puts it; empty is unknown
    policy_source: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model at a provider. `vendor` made it, `provider` serves it under the name `upstream`."""

    id: str
    provider: str
    upstream: str
    vendor: str
    name: str
    display_name: str
    protocol: str  # openai_chat, anthropic_messages, gemini
    priced_as: str  # the provider's id in genai-prices
    context_tokens: int | None
    max_output_tokens: int | None
    capabilities: frozenset[str]  # tools, images, json_schema, reasoning, prompt_cache, files, audio_input, dimensions
    deprecated_on: str | None  # ISO date
    added_on: str  # ISO date: when it came into this catalog
    aliases: tuple[str, ...]
    kind: str = CHAT  # or embedding
    dimensions: int | None = None  # numbers of a vector where the call asks for nothing else; None for chat models
    quantization: str = "unknown"
    needs_retention: bool = False  # its provider keeps what is sent to it, whatever is agreed for its other models
    is_described: bool = True  # False: served by a provider that the operator wired in, nothing is known about it

    @property
    def family(self) -> str:
        """The model wherever it is served: `openai/gpt-oss-120b` at three providers."""
        return f"{self.vendor}/{self.name}"


class Resolution(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a requested name means: the models to try in order, or `auto`, or nothing and the nearest names.

    `suffix` is one that `gateway.routing.suffixes` honours, `ignored_suffix` was recognised and changes nothing (the
    receipt says so).
    """

    models: tuple[Model, ...] = ()
    is_auto: bool = False
    suffix: str = ""
    ignored_suffix: str = ""
    nearest: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        return self.is_auto or bool(self.models)


_AUTO = Resolution(is_auto=True)


class Catalog:
    """All models, looked up by any name. Immutable but for a bounded memory of names met before."""

    _REMEMBERED = 4096

    def __init__(
        self, *, providers: Iterable[Provider], models: Iterable[Model], cost_ranks: Mapping[str, int] | None = None
    ) -> None:
        """Build the alias table.

        `cost_ranks` maps model ids to anything that grows with price: among the endpoints of one model the cheaper come
        first; at the same price the vendor's own endpoint wins, then the order of `models`.
        """
        self.providers: dict[str, Provider] = {provider.slug: provider for provider in providers}
        self.models: dict[str, Model] = {model.id: model for model in models}
        self._ranks = dict(cost_ranks or {})
        self._slugs = {
            spelling: provider.slug
            for provider in self.providers.values()
            for spelling in (*provider.aliases, provider.slug)
        }
        self._names: dict[str, Resolution] = self._build_names()
        self._spellings = [
            (spelling, _letter_pairs(spelling), model)
            for model in self
            for spelling in sorted({model.id.lower(), model.name.lower(), model.family.lower()})
        ]
        self._remembered: dict[str, Resolution] = {}

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def __len__(self) -> int:
        return len(self.models)

    def of_kind(self, kind: str) -> tuple[Model, ...]:
        """Return the models of one kind: `CHAT` or `EMBEDDING`."""
        return tuple(model for model in self if model.kind == kind)

    def get(self, model_id: str) -> Model | None:
        """Return the model of exactly this id."""
        return self.models.get(model_id)

    def provider_slug(self, spelling: str) -> str | None:
        """Return our slug of a provider in any spelling (`Mistral`, `together_ai`, `X_AI`), None when unknown."""
        lowered = spelling.lower()
        return self._slugs.get(lowered) or self._slugs.get(lowered.replace("_", "-"))

    def ranked(self, cost_ranks: Mapping[str, int]) -> Catalog:
        """Return the same catalog with the endpoints of each model ordered by other costs."""
        return Catalog(providers=self.providers.values(), models=self.models.values(), cost_ranks=cost_ranks)

    def resolve(self, name: str) -> Resolution:
        """Return what `name` means, in any spelling of the supported gateways; never raises.

        Exact ids and provider-pinned forms (`provider:model`, `provider/model`, `@provider/model`) give one model,
        `vendor/model` and bare names every provider that serves it. A dated name gives the same models with the
        date kept in `upstream`, so the provider serves the snapshot that was asked for.
        """
        known = self._names.get(name)
        if known is not None:
            return known
        known = self._remembered.get(name)
        if known is not None:
            return known
        found = self._parse(name.strip())
        # Only names that mean something are remembered: strangers cannot fill the table with garbage.
        if found.is_known and len(self._remembered) < self._REMEMBERED:
            self._remembered[name] = found
        return found

    def _parse(self, name: str) -> Resolution:
        found = self._names.get(name) or self._names.get(name.lower())
        if found is not None:
            return found
        wanted = names.family_latest(name)
        if wanted is not None:
            return self._latest(*wanted)
        base, suffix = names.split_suffix(name)
        if suffix:
            found = self._parse(base)
            if not found.is_known:
                return found
            # The endpoints stand cheapest first already, which is all that `:floor` asks for.
            if suffix in names.HONOURED_SUFFIXES:
                return msgspec.structs.replace(found, suffix=suffix)
            return msgspec.structs.replace(found, ignored_suffix=suffix)
        base, date = names.split_date(name)
        if date:
            found = self._names.get(base) or self._names.get(base.lower())
            if found is not None and found.models:
                dated = tuple(replace(model, upstream=model.upstream + date) for model in found.models)
                return Resolution(models=dated)
        return Resolution(nearest=self.nearest(name))

    def _latest(self, vendor: str, family: str) -> Resolution:
        """Return the newest chat model of a vendor's family, at every provider that serves it."""
        spelled = {vendor, self.provider_slug(vendor)}
        kin = [
            model
            for model in self.of_kind(CHAT)
            if model.vendor in spelled and names.split_version(model.name)[0] == family
        ]
        if not kin:
            return Resolution(nearest=self.nearest(f"{vendor}/{family}"))
        newest = max(kin, key=lambda model: names.split_version(model.name)[1])
        return Resolution(models=self._ordered(model for model in kin if model.name == newest.name))

    def nearest(self, name: str, *, limit: int = 3) -> tuple[str, ...]:
        """Return the ids of the models whose names look most like `name`, best first."""
        # A model name is short: longer input is cut so that a hostile one cannot cost seconds.
        wanted = names.split_suffix(name[:100].lower())[0].removeprefix("@")
        pairs = _letter_pairs(wanted)
        # Comparing exactly costs 20 µs a name; shared letter pairs find the few names that are worth it.
        hopeful = sorted(self._spellings, key=lambda entry: -len(pairs & entry[1]) / (len(pairs | entry[1]) or 1))[:16]
        matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)
        scores: dict[str, tuple[float, str]] = {}  # one suggestion a family: the same model twice helps nobody
        for spelling, _, model in hopeful:
            matcher.set_seq1(spelling)
            score = matcher.ratio()
            if score > scores.get(model.family, (0.0, ""))[0]:
                scores[model.family] = (score, model.id)
        best = sorted(scores.values(), key=lambda entry: -entry[0])
        return tuple(model_id for _, model_id in best[:limit])

    def _ordered(self, models: Iterable[Model]) -> tuple[Model, ...]:
        position = {model_id: index for index, model_id in enumerate(self.models)}
        return tuple(
            sorted(
                models,
                key=lambda m: (self._ranks.get(m.id, 0), m.vendor != m.provider, position[m.id]),
            )
        )

    def _build_names(self) -> dict[str, Resolution]:
        """Return the table of all names, in lower case and as written. Earlier kinds of name win over later ones."""
        pinned: dict[str, list[Model]] = {}
        shared: dict[str, list[Model]] = {}
        bare: dict[str, list[Model]] = {}
        for model in self:
            locals_ = {model.name, model.upstream, model.id.partition("/")[2], model.family, *model.aliases}
            for spelling in (model.provider, *self.providers[model.provider].aliases):
                for local in locals_:
                    for form in (f"{spelling}/{local}", f"{spelling}:{local}", f"@{spelling}/{local}"):
                        _add(pinned, form, model)
            for local in {model.name, *(alias for alias in model.aliases if "/" not in alias)}:
                for vendor in self._vendor_spellings(model.vendor):
                    _add(shared, f"{vendor}/{local}", model)
            for local in locals_:
                _add(bare, local, model)

        table: dict[str, Resolution] = {}
        exact = {model.id: [model] for model in self}
        for kind in (exact, pinned, shared, bare):
            for name, models in kind.items():
                resolution = Resolution(models=self._ordered(models))
                table.setdefault(name, resolution)
                table.setdefault(name.lower(), resolution)
        for name in names.AUTO:
            table[name] = _AUTO
        return table

    def _vendor_spellings(self, vendor: str) -> tuple[str, ...]:
        provider = self.providers.get(vendor)
        return (vendor, *provider.aliases) if provider else (vendor,)


def _letter_pairs(name: str) -> frozenset[str]:
    return frozenset(name[at : at + 2] for at in range(len(name) - 1))


def _add(table: dict[str, list[Model]], name: str, model: Model) -> None:
    models = table.setdefault(name, [])
    if model not in models:
        models.append(model)


def from_document(document: Mapping[str, Any]) -> Catalog:
    """Return the catalog that `gateway.catalog.curation.slim` described."""
    providers = [
        Provider(slug=slug, **{**entry, "aliases": tuple(entry["aliases"])})
        for slug, entry in document["providers"].items()
    ]
    models = [
        Model(**{**entry, "capabilities": frozenset(entry["capabilities"]), "aliases": tuple(entry["aliases"])})
        for entry in document["models"]
    ]
    return Catalog(providers=providers, models=models)
