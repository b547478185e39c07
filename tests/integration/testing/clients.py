"""The real clients that the tests of the endpoint call it with: the providers' SDKs, through Pydantic AI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tenuto.testing.addresses import Addresses

FORMATS = ["openai-chat", "openai-responses", "anthropic"]
"""What the endpoint speaks, as its calls name it."""

KEY = "sk-test-0123456789"


def openai_sdk(endpoint: Addresses, retries: int = 0) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=endpoint.openai_url, api_key=KEY, max_retries=retries, timeout=120)


def anthropic_sdk(endpoint: Addresses, retries: int = 0) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=endpoint.anthropic_url, api_key=KEY, max_retries=retries, timeout=120)


@asynccontextmanager
async def model(format: str, endpoint: Addresses, name: str = "scripted-1", retries: int = 0) -> AsyncIterator[Model]:
    """A model of Pydantic AI that asks `endpoint` in `format`; its connections end with the context."""
    if format == "anthropic":
        async with anthropic_sdk(endpoint, retries) as anthropic:
            profile = ModelProfile(supports_json_schema_output=True)
            yield AnthropicModel(name, provider=AnthropicProvider(anthropic_client=anthropic), profile=profile)
    else:
        async with openai_sdk(endpoint, retries) as openai:
            kind = OpenAIChatModel if format == "openai-chat" else OpenAIResponsesModel
            yield kind(name, provider=OpenAIProvider(openai_client=openai))
