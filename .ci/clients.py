"""Providers' own Python clients against the simulators, with nothing changed but the base URL.

Arguments: the API's address, and the file with the simulators' keys.
"""

import base64
import json
import sys

import openai
import replicate
from google import genai
from google.genai import types
from huggingface_hub import InferenceClient
from wavespeed.api.client import Client as WaveSpeed

PHOTO = "events/media/photo.jpg"


def key_of(keys, provider):
    return keys["replicate_token"] if provider == "replicate" else keys["keys"][provider]


def check_openai(base, key):
    client = openai.OpenAI(base_url=f"{base}/openai/v1", api_key=key)
    made = client.images.generate(model="gpt-image-2", prompt="A fox")
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG")
    with open(PHOTO, "rb") as photo:
        assert client.images.edit(model="gpt-image-2", prompt="At night", image=photo).data[0].b64_json
    try:
        client.images.generate(model="gpt-image-2", prompt="[[moderate]]")
    except openai.BadRequestError as error:
        assert error.code == "moderation_blocked", error
    else:
        raise AssertionError("it was not refused")


def check_openrouter(base, key):
    client = openai.OpenAI(base_url=f"{base}/openrouter/api/v1", api_key=key)
    asked = [{"role": "user", "content": "Hello"}]
    assert client.chat.completions.create(model="google/gemini-3.8-flash", messages=asked).choices[0].message.content


def check_replicate(base, key):
    client = replicate.Client(api_token=key, base_url=f"{base}/replicate")
    prediction = client.models.predictions.create("black-forest-labs/flux-schnell", input={"prompt": "A fox"})
    prediction.wait()
    assert prediction.status == "succeeded" and prediction.output, prediction


def check_gemini(base, key):
    client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=f"{base}/gemini"))
    assert client.models.generate_content(model="gemini-3.8-flash", contents="Hello").text
    both = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
    drawn = client.models.generate_content(model="gemini-3.1-flash-image", contents="A fox", config=both)
    assert any(part.inline_data for part in drawn.candidates[0].content.parts)
    file = client.files.upload(file=PHOTO)
    assert client.files.get(name=file.name).name == file.name
    client.files.delete(name=file.name)


def check_huggingface(base, key):
    model = f"{base}/huggingface/hf-inference/models/stabilityai/stable-diffusion-3-medium-diffusers"
    assert InferenceClient(model=model, token=key).text_to_image("A fox").size == (1024, 1024)


def check_wavespeed(base, key):
    with open(PHOTO, "rb") as file:
        photo = "data:image/jpeg;base64," + base64.b64encode(file.read()).decode()
    client = WaveSpeed(api_key=key, base_url=f"{base}/wavespeed")
    assert client.run("wavespeed-ai/image-face-swap", {"image": photo, "face_image": photo})["outputs"]


def main(api, path):
    with open(path, encoding="utf-8") as file:
        keys = json.load(file)
    checks = [check_openai, check_openrouter, check_replicate, check_gemini, check_huggingface, check_wavespeed]
    for check in checks:
        provider = check.__name__.removeprefix("check_")
        check(f"{api}/_sim", key_of(keys, provider))
        print(f"{provider}: its own client is served")


main(*sys.argv[1:])
