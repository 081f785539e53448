"""Names of models and aliases: parse, format, refuse.

A model reference is spelled `provider:model`; everything after the first colon belongs to the model, because model
names hold colons themselves (`ollama:llama3.3:70b`). An alias holds no colon; that is how the two are told apart.
"""

import re

import msgspec

# Lower case: the provider part names a table in the lockfile and a row in known.py.
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")


class ModelRef(msgspec.Struct, frozen=True, order=True):
    """One model of one provider. Made by `ModelRef.parse`; hashable, sortable, printed as `provider:model`."""

    provider: str
    model: str

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Parse `provider:model`. Raises ValueError that says what was expected."""
        provider, colon, model = text.strip().partition(":")
        provider = provider.lower()
        if not colon:
            raise ValueError(f"{text!r} is not a model reference: expected 'provider:model', such as 'openai:gpt-4o'")
        if not _PROVIDER.fullmatch(provider):
            raise ValueError(f"{text!r} is not a model reference: {provider!r} is not a provider name")
        if not model or any(c.isspace() or not c.isprintable() for c in model):
            raise ValueError(f"{text!r} is not a model reference: the model's name is empty or holds blanks")
        return cls(provider, model)

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


def is_model_ref(text: str) -> bool:
    """Whether `text` is meant as `provider:model` and not as an alias: it holds a colon."""
    return ":" in text


def check_alias(name: str) -> str:
    """Return `name`, or raise ValueError when it cannot be an alias."""
    if not _ALIAS.fullmatch(name):
        raise ValueError(f"{name!r} is not an alias: letters, digits, '_', '-', '.', '/'; no colon, no blanks")
    return name
