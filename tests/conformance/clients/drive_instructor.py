"""instructor: typed objects by tool call and by JSON schema, whole and streamed."""

from __future__ import annotations

import driving
import instructor
from driving import check
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def client(mode=instructor.Mode.TOOLS, key=driving.API_KEY):
    return instructor.from_openai(OpenAI(base_url=driving.V1, api_key=key, max_retries=0), mode=mode)


def ask(prompt, *, model=driving.MODEL, mode=instructor.Mode.TOOLS, key=driving.API_KEY):
    return client(mode, key).chat.completions.create(
        model=model, messages=driving.said(prompt), response_model=Person, max_retries=0
    )


@check
def structured():
    return ask(driving.PERSON).model_dump()


@check
def structured_by_schema():
    return ask(driving.PERSON, mode=instructor.Mode.JSON_SCHEMA).model_dump()


@check
def streamed_structured():
    partials = list(
        client().chat.completions.create_partial(
            model=driving.MODEL, messages=driving.said(driving.PERSON), response_model=Person, max_retries=0
        )
    )
    assert len(partials) > 1
    return partials[-1].model_dump()


@check
def plain():
    _, answer = client().chat.completions.create_with_completion(
        model=driving.MODEL, messages=driving.said(driving.PERSON), response_model=Person, max_retries=0
    )
    call = answer.choices[0].message.tool_calls[0]
    return driving.text(call.function.arguments, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


def cause_of(attempt):
    """Return the class of what the SDK below raised: instructor wraps it in an error of its own."""
    try:
        attempt()
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        if hasattr(error, "exceptions"):
            error = error.exceptions[-1]
        return {"type": type(error).__name__, "message": str(error)[:400]}
    return {"type": None}


driving.check_failures(ask, raised=cause_of)
driving.main()
