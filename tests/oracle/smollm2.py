"""SmolLM2-135M-Instruct by Transformers from the GGUF, in f32: tokens, logits, greedy answers.

Writes golden/smollm2.golden:

    ids            tokens of tests/data/mixed.txt, special tokens recognised
    ids_plain      the same text, special tokens taken as ordinary characters
    positions      of the first `prompt_tokens` ids, fed as one prompt: where logits were recorded
    top_ids, top_logits [positions, 50]     the 50 highest logits there, highest first
    last_logits [vocabulary]                all logits of the last of them
    chat_prompt, chat_answer                a question in the chat template, 64 greedy tokens
    plain_prompt, plain_answer              the same for text to be continued
    chat_text, plain_text                   the two answers as UTF-8

Transformers rebuilds a tokenizer from the GGUF with GPT-2's pre-tokenizer, whatever
`tokenizer.ggml.pre` says. This model's own (`smollm`) first sets every digit apart, which moves
blanks before a digit to another token: here the tokenizer is given that step back, as in the
model's published tokenizer.json.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

import golden

ROOT = Path(__file__).parent.parent.parent
FOLDER, FILE = ROOT / "models", "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT_TOKENS, TOP, ANSWER_TOKENS = 200, 50, 64
# Of these, the one whose greedy answer is decided by the widest margin: rounding cannot change it.
QUESTIONS = [
    "Explain in a few sentences why the sky is blue and sunsets are red.",
    "List the planets of the solar system in order from the sun.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "What is photosynthesis?",
    "What are the days of the week?",
    "Count from one to twenty in words.",
    "Who wrote Romeo and Juliet, and what is it about?",
    "Name the months of the year and how many days each has.",
]
BEGINNINGS = [
    "The history of the printing press begins in",
    "one, two, three, four, five, six, seven, eight,",
    "The quick brown fox jumps over the lazy dog. The quick brown fox",
    "#include <stdio.h>\n\nint main(void) {\n",
    "def factorial(n):\n",
    "We hold these truths to be self-evident, that all men",
    "Monday, Tuesday, Wednesday,",
    "The planets of the solar system are Mercury,",
]
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def load():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER, gguf_file=FILE)
    published = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.backend_tokenizer.pre_tokenizer = published
    model = AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE, dtype=torch.float32)
    return tokenizer, model.eval()


def encode(tokenizer, text, special=True):
    tokenizer.backend_tokenizer.encode_special_tokens = not special
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


def greedy(model, prompt):
    """64 greedy tokens, and the smallest lead the chosen logit had over the next."""
    answer, lead, cache, fed = [], float("inf"), None, prompt
    for _ in range(ANSWER_TOKENS):
        step = model(torch.tensor([fed]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = step.past_key_values
        best = step.logits[0, -1].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        answer.append(best.indices[0].item())
        fed = answer[-1:]
    return answer, lead


def in_template(tokenizer, question):
    chat = (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    message = [{"role": "user", "content": question}]
    assert (
        tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) == chat
    )
    return chat


def surest(tokenizer, model, texts, wrap):
    found = []
    for text in texts:
        prompt = encode(tokenizer, wrap(tokenizer, text))
        answer, lead = greedy(model, prompt)
        print(f"lead {lead:.4f}: {text!r}", file=sys.stderr)
        found.append((text, prompt, answer, lead))
    return max(found, key=lambda row: row[-1])


@torch.no_grad()
def main():
    tokenizer, model = load()
    text = (ROOT / "tests/data/mixed.txt").read_bytes().decode()
    ids, ids_plain = encode(tokenizer, text), encode(tokenizer, text, special=False)
    assert tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.backend_tokenizer.decode(ids_plain, skip_special_tokens=False) == text

    logits = model(torch.tensor([ids[:PROMPT_TOKENS]])).logits[0]
    positions = [0, 1, 15, 63, 64, 127, 128, 150, 198, PROMPT_TOKENS - 1]
    top = logits[positions].topk(TOP)

    question, chat_prompt, chat_answer, chat_lead = surest(
        tokenizer, model, QUESTIONS, in_template
    )
    plain, plain_prompt, plain_answer, plain_lead = surest(
        tokenizer, model, BEGINNINGS, lambda _, text: text
    )
    chat_text, plain_text = tokenizer.decode(chat_answer), tokenizer.decode(plain_answer)
    print(
        f"{len(ids)} tokens, {len(ids_plain)} plain; leads {chat_lead:.3f} {plain_lead:.3f}",
        file=sys.stderr,
    )
    print(f"{chat_text!r}\n{plain_text!r}", file=sys.stderr)

    as_ids = lambda values: np.array(values, np.int32)
    as_bytes = lambda words: np.frombuffer(words.encode(), np.uint8)
    golden.write(
        "smollm2",
        "transformers 5.23, SmolLM2-135M-Instruct.Q4_1.gguf in f32; see smollm2.py",
        {
            "prompt_tokens": PROMPT_TOKENS,
            "question": question,
            "plain": plain,
            "chat_lead": chat_lead,
            "plain_lead": plain_lead,
        },
        {
            "ids": as_ids(ids),
            "ids_plain": as_ids(ids_plain),
            "positions": as_ids(positions),
            "top_ids": top.indices.to(torch.int32),
            "top_logits": top.values,
            "last_logits": logits[-1],
            "chat_prompt": as_ids(chat_prompt),
            "chat_answer": as_ids(chat_answer),
            "plain_prompt": as_ids(plain_prompt),
            "plain_answer": as_ids(plain_answer),
            "chat_text": as_bytes(chat_text),
            "plain_text": as_bytes(plain_text),
        },
    )


main()
