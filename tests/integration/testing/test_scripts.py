"""Which answer belongs to which request."""

from __future__ import annotations

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError

from tenuto.errors import InvalidInput
from tenuto.testing import Endpoint, Reply, Request, Rule, ToolCall
from tenuto.testing.script import read_script
from tests.integration.testing.clients import FORMATS, model, openai_sdk

each_format = pytest.mark.parametrize("format", FORMATS)
THREE = ["one", "two", "three"]


@each_format
async def test_a_resumed_conversation_gets_the_answer_of_its_turn_however_often_it_was_asked(format: str) -> None:
    async with Endpoint(THREE) as endpoint, model(format, endpoint) as asked:
        # Given a conversation of one turn, and three others that came in between
        agent = Agent(asked)
        first = await agent.run("Go")
        for _ in range(3):
            await agent.run("Go")
        # When
        second = await agent.run("On", message_history=first.all_messages())
        third = await Agent(asked).run("On", message_history=second.all_messages())
        # Then
        assert [first.output, second.output, third.output] == THREE
        assert [call.turn for call in endpoint.calls] == [1, 1, 1, 1, 2, 3]


@each_format
async def test_an_answer_of_several_parts_is_one_turn(format: str) -> None:
    # Given an answer with thoughts, text and two calls
    calls = [ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})]
    turns = [Reply(thinking="They want sums.", text="I add.", tools=calls), Reply(text="3 and 7")]
    async with Endpoint(turns) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked)

        @agent.tool_plain
        def add(a: int, b: int) -> int:
            return a + b

        # When
        result = await agent.run("1+2, 3+4")
        # Then
        assert result.output == "3 and 7"
        assert [call.turn for call in endpoint.calls] == [1, 2]


async def test_the_first_rule_that_fits_the_conversation_answers() -> None:
    rules = [
        Rule(first="weather", turns=["It rains."]),
        Rule(system="pirate", turns=["Arr."]),
        Rule(model="scripted-2", turns=["I am two."]),
        Rule(contains="loud", turns=["QUIET!"], repeat=True),
        Rule(turns=["What?"]),
    ]
    async with (
        Endpoint(rules) as endpoint,
        model("openai-chat", endpoint) as one,
        model("anthropic", endpoint, "scripted-2") as two,
    ):
        asked = [
            (await agent.run(text)).output
            for agent, text in [
                (Agent(one), "How is the weather?"),
                (Agent(one, instructions="You are a pirate."), "Hello"),
                (Agent(two), "Hello"),
                (Agent(one), "Not so loud"),
                (Agent(one), "Hello"),
            ]
        ]
    assert asked == ["It rains.", "Arr.", "I am two.", "QUIET!", "What?"]


async def test_the_last_turn_of_a_rule_that_repeats_answers_all_further_ones() -> None:
    script = [Rule(turns=["first", "again"], repeat=True)]
    async with Endpoint(script) as endpoint, model("openai-chat", endpoint) as asked:
        agent = Agent(asked)
        result = await agent.run("Go")
        for _ in range(3):
            result = await agent.run("On", message_history=result.all_messages())
    assert result.output == "again"
    assert endpoint.calls[-1].turn == 4


@each_format
async def test_a_function_sees_the_conversation_and_answers(format: str) -> None:
    # Given
    def script(request: Request) -> Reply:
        if request.turn == 1:
            return Reply(tools=[ToolCall("price", {"of": request.first})])
        (result,) = request.results
        return Reply(text=f"{request.first} costs {result.text}, says {request.model}")

    async with Endpoint(script) as endpoint, model(format, endpoint) as asked:
        agent = Agent(asked)

        @agent.tool_plain
        def price(of: str) -> str:
            return f"3 crowns a {of}"

        # When
        result = await agent.run("bread")
        # Then
        assert result.output == "bread costs 3 crowns a bread, says scripted-1"


async def test_a_turn_may_fail_some_times_before_it_is_answered() -> None:
    # Given
    turn: list[Reply | str] = [Reply(status=500), Reply(status=429), "at last"]
    async with Endpoint([turn]) as endpoint, model("openai-chat", endpoint) as asked:
        agent = Agent(asked)
        # When
        for status in (500, 429):
            with pytest.raises(ModelHTTPError) as refused:
                await agent.run("Go")
            assert refused.value.status_code == status
        # Then
        assert (await agent.run("Go")).output == "at last"
        assert [(call.attempt, call.outcome) for call in endpoint.calls] == [
            (1, "refused"),
            (2, "refused"),
            (3, "answered"),
        ]


async def test_no_two_answers_share_the_id_of_a_call() -> None:
    ids: set[str] = set()
    async with Endpoint([Reply(tools=[ToolCall("unknown")])]) as endpoint, openai_sdk(endpoint) as sdk:
        for _ in range(3):
            answer = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "Go"}])
            ids |= {call.id for call in answer.choices[0].message.tool_calls or ()}
    assert len(ids) == 3


@each_format
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([], "the script has 0 turns, and turn 1 was asked for"),
        ([Rule(first="other", turns=["x"])], "no rule of the script fits a conversation that begins with 'Go'"),
        ([[]], "turn 1 of the script is an empty list"),
        (lambda request: request.nothing, "the script's function failed: AttributeError"),
        (lambda request: 7, "the script's function returned int, not a Reply"),
    ],
)
async def test_a_script_without_an_answer_says_so_and_is_not_retried(format: str, script: object, message: str) -> None:
    async with Endpoint(script) as endpoint:  # type: ignore[arg-type]  # some of these are wrong on purpose
        async with model(format, endpoint, retries=2) as asked:
            with pytest.raises(ModelHTTPError, match="status_code: 400"):
                await Agent(asked).run("Go")
        (call,) = endpoint.calls
        assert message in call.error


async def test_another_script_takes_over_while_the_endpoint_serves() -> None:
    async with Endpoint(["old"]) as endpoint, model("anthropic", endpoint) as asked:
        assert (await Agent(asked).run("Go")).output == "old"
        endpoint.replace(["new"])
        assert (await Agent(asked).run("Go")).output == "new"


async def test_conversations_at_once_do_not_mix() -> None:
    # Given a script that tells each conversation its own words, turn by turn
    def script(request: Request) -> str:
        return f"{request.first} {request.turn}"

    async with Endpoint(script) as endpoint, model("openai-responses", endpoint) as asked:

        async def talk(name: str) -> str:
            result = await Agent(asked).run(name)
            for _ in range(2):
                result = await Agent(asked).run("on", message_history=result.all_messages())
            return result.output

        # When
        outputs = await asyncio.gather(*(talk(f"number {number}") for number in range(10)))
    # Then
    assert outputs == [f"number {number} 3" for number in range(10)]


def test_scripts_from_json_are_turns_or_rules() -> None:
    turns = read_script('["a", {"tools": [{"name": "t", "args": {"x": 1}}]}, [{"status": 429}, "b"]]')
    assert turns == [Rule(turns=["a", Reply(tools=[ToolCall("t", {"x": 1})]), [Reply(status=429), "b"]])]
    assert read_script('{"rules": [{"first": "x", "turns": ["y"]}]}') == [Rule(first="x", turns=["y"])]
    assert read_script('{"turns": ["y"], "repeat": true}') == [Rule(turns=["y"], repeat=True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the script is not valid: Input data was truncated"),
        ('{"turns": [{"txet": "a"}]}', "unknown field `txet` - at `$[0].turns[0]`"),
        ('{"rules": [{"first": "x"}]}', "missing required field `turns` - at `$[0]`"),
        ("7", "Expected `object`, got `int`"),
    ],
)
def test_a_script_that_is_none_is_refused_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_script(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("text", "a script is a list of turns or rules, or a function, not str"),
        (7, "a script is a list of turns or rules, or a function, not int"),
        ([Rule(turns=["a"]), "b"], "a script holds rules or turns, not both"),
    ],
)
def test_an_endpoint_refuses_what_is_no_script(script: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Endpoint(script)  # type: ignore[arg-type]  # that is what is tested
