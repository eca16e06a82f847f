"""OpenAI's own client against a server of ours.

usage: openai_client.py BASE_URL MODEL     prints what it found as JSON
"""

import asyncio
import json
import sys
import time
import urllib.request

import openai

base, name = sys.argv[1:]
client = openai.OpenAI(base_url=base, api_key="a key", max_retries=0)
found = {"models": [model.id for model in client.models.list()]}


def health():
    return json.load(urllib.request.urlopen(base.removesuffix("/v1") + "/health"))


greedy = dict(model=name, prompt="fn main", temperature=0, max_tokens=24)
whole = client.completions.create(**greedy)
found["text"] = whole.choices[0].text
found["finish"] = whole.choices[0].finish_reason
found["usage"] = whole.usage.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"})

parts = list(client.completions.create(**greedy, stream=True, stream_options={"include_usage": True}))
found["streamed"] = "".join(part.choices[0].text for part in parts if part.choices)
found["parts"] = len(parts)
found["stream_finish"] = [p.choices[0].finish_reason for p in parts if p.choices][-1]
found["stream_usage"] = parts[-1].usage.completion_tokens

# Side by side, several of each, the same for the same seed.
several = dict(model=name, prompt=["a", "b"], n=2, temperature=1.0, top_p=0.9, max_tokens=8, seed=7)
found["several"] = [choice.text for choice in client.completions.create(**several).choices]
assert found["several"] == [choice.text for choice in client.completions.create(**several).choices]
assert [c.index for c in client.completions.create(**several).choices] == [0, 1, 2, 3]

# Probabilities, of the prompt too.
told = client.completions.create(model=name, prompt="abc", max_tokens=2, temperature=0, logprobs=3, echo=True).choices[0]
found["echo"] = told.text
found["logprobs"] = told.logprobs.model_dump()
found["none"] = client.completions.create(model=name, prompt="abc", max_tokens=0, echo=True).choices[0].text

# A text ends before a stop text.
stop = found["text"][5:7]
found["stopped"] = client.completions.create(**greedy, stop=[stop]).choices[0].text

# A conversation, where the tokenizer has a template.
talk = dict(model=name, messages=[{"role": "user", "content": "hi"}], temperature=0, max_tokens=6)
try:
    found["chat"] = client.chat.completions.create(**talk).choices[0].message.content
    prompted = client.completions.create(model=name, prompt="user: hi\n", temperature=0, max_tokens=6)
    found["chat_prompted"] = prompted.choices[0].text
    deltas = list(client.chat.completions.create(**talk, stream=True))
    found["chat_streamed"] = "".join(d.choices[0].delta.content or "" for d in deltas)
except openai.BadRequestError as error:
    found["chat_error"] = error.message

# One that goes away in the middle frees its work.
long = client.completions.create(model=name, prompt="x", temperature=1, max_tokens=3000, stream=True, seed=1)
next(iter(long))
found["writing"] = health()["writing"]
long.close()
started = time.monotonic()
while health()["writing"] and time.monotonic() - started < 60:
    time.sleep(0.02)
found["freed_after"] = time.monotonic() - started


async def leave():
    """Cancelled before the whole answer came."""
    async with openai.AsyncOpenAI(base_url=base, api_key="a key", max_retries=0) as client:
        task = asyncio.create_task(client.completions.create(model=name, prompt="x", temperature=1, max_tokens=3000))
        while not health()["writing"]:
            await asyncio.sleep(0.02)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

asyncio.run(leave())
started = time.monotonic()
while health()["writing"] and time.monotonic() - started < 60:
    time.sleep(0.02)
found["left_after"] = time.monotonic() - started

errors = {}
for case, request in {
    "model": dict(greedy, model="another"),
    "long": dict(greedy, max_tokens=100_000),
    "token": dict(greedy, prompt=[70_000]),
    "temperature": dict(greedy, temperature=-1),
    "suffix": dict(greedy, suffix="x"),
    "penalty": dict(greedy, presence_penalty=0.5),
    "many": dict(greedy, n=1000),
}.items():
    try:
        client.completions.create(**request)
        errors[case] = None
    except openai.APIStatusError as error:
        errors[case] = [error.status_code, error.body["message"], error.body["param"]]
found["errors"] = errors
print(json.dumps(found))
