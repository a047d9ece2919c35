"""Chat models by name."""

from langchain_core.language_models import BaseChatModel

from examples.agent.scripted import SEARCH_THEN_REPORT, ScriptedModel


class ModelError(Exception):
    """A chat model that cannot be had, and what to do about it."""


def chat_model(name: str) -> BaseChatModel:
    """The model called `scripted`, or `provider:model` as LangChain names them.

    Raises:
        ModelError: The name is wrong, or a package it needs is not installed.
    """
    if name == "scripted":
        return ScriptedModel(turns=SEARCH_THEN_REPORT)
    provider, colon, model = name.partition(":")
    if not (provider and colon and model):
        raise ModelError(f"{name!r} names no model: use 'scripted' or provider:model, as in anthropic:claude-sonnet-4-5")
    try:
        from langchain.chat_models import init_chat_model  # pyright: ignore[reportMissingImports]  # not needed by 'scripted'
    except ImportError as error:
        raise ModelError(
            f"{name} needs the package langchain and the provider's own, such as langchain-{provider}: install both"
        ) from error
    try:
        return init_chat_model(name)
    except Exception as error:  # boundary: whoever typed the name, from whatever a provider raises for a missing package or key
        raise ModelError(f"{name} cannot be used: {str(error).partition(chr(10))[0]}") from error
