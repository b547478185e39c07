"""LLM agents that survive: Pydantic AI runs the conversation, the task's journal remembers it.

    agent.py         Agent: what people make, and any pydantic_ai.Agent
    attempt.py       one attempt: turn by turn, from where the last one ended
    conversation.py  the message log, turn by turn in the journal
    durability.py    the capability through which every call of the library goes into the journal
    operations.py    what each of them becomes there
    model_calls.py   asking the model: announced, recorded, never paid for twice
    requests.py      one request: its most set aside, sent, counted; for each model of a FallbackModel
    candidates.py    the models of a ModelFallback
    background.py    responses that a provider makes in the background
    failures.py      requests that fail, and model_errors.py: what that means
    streaming.py     what the model says, told while it says it
    tool_calls.py    running a tool, as its effect allows
    deferred.py      calls that people or other systems answer
    tool_results.py  results that are too large for the conversation
    tool_servers.py  tools of MCP servers, and what becomes of a call whose server is away
    tools.py         what a tool says about itself
    context.py       AgentContext: what a task is about
    offers.py        what a model is offered along with each request
    replay.py        the record of a task through the present code; recording.py: a journal that is only read
    current.py       what the running code belongs to

A *turn* is one request to the model and the tool calls that it asks for. A task's journal holds, for turn 4:

    turn-4/model#0                  what was added to the messages, and the response: the checkpoint
    turn-4/model#1                  what has gone on with that response, where the provider had suspended it; or what
                                    stands in its place, where it failed or was not accepted
    turn-4/model.compact_messages#0 what the messages were compacted to, for that turn and those behind it
    turn-4/call-abc/search          the result of a tool call
    turn-4/call-abc/fetch#0         a step inside that tool
    turn-4/call-abc/model#0         a request of an agent that the tool runs itself
    turn-4/agent-other/model#0      a request of an agent that runs beside the tools: one that shortens the history
    call-def@issued                 a call that waits for somebody

An attempt reads the log, goes back to the last request, and lets Pydantic AI go on from there: the response and the
tools' results of that turn come from the journal, what is missing is done now.
"""

from tenuto.errors import MissingExtra

try:
    import pydantic_ai  # noqa: F401  # the room is of no use without it
except ImportError as error:
    raise MissingExtra(
        "LLM agents need Pydantic AI, which is not installed: pip install 'tenuto[llm]'", extra="llm"
    ) from error
