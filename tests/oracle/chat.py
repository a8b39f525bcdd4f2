"""Chat templates as Transformers renders them.

Writes golden/chat.golden. For each template tests/data/chat/NAME.jinja and each conversation i:

    messages.i                  role, U+001D, content, U+001E of each message
    NAME.i.asked, NAME.i.plain  the text, with and without the generation prompt

The templates are those of the models' files; where they print tools, that part is cut out. A
conversation a template refuses has no text.
"""

from pathlib import Path

import numpy as np
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

import golden

FOLDER = Path(__file__).parent.parent / "data/chat"
BOS, EOS = "<s>", "</s>"
THOUGHT = "<think>\n\nI add.\n\n</think>\n\n\n2 and 2 is 4."
CALLED = "<tool_response>\n4\n</tool_response>"
CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "Hello")],
    [("user", "  Hi\n"), ("assistant", "\tWell?  "), ("user", "\n\nGo on. ")],
    [
        ("system", " \u00a0Sei \u3000"),
        ("user", "äöü 🙂 日本語\u2003"),
        ("assistant", "\u0085ok\x1f"),
    ],
    [("user", "2 and 2?"), ("assistant", THOUGHT), ("user", "And 3?")],
    [("user", "2 and 2?"), ("assistant", THOUGHT)],
    [
        ("user", "2?"),
        ("assistant", "a</think>b</think>\nc"),
        ("user", CALLED),
        ("assistant", "<think>x<think>\ny</think>4"),
    ],
    [
        ("user", "2?"),
        ("assistant", "4"),
        ("user", CALLED),
        ("assistant", "<think>\n</think>z"),
        ("user", "Why?"),
        ("assistant", "So."),
        ("user", "Oh"),
    ],
    [("assistant", "I begin."), ("user", "")],
    [("system", "One."), ("system", "Two."), ("user", "Go. ")],
    [("system", ""), ("user", "2?"), ("assistant", "\nI <mm:think>\nadd.\n\n</mm:think>\n\n4\n")],
    [
        ("user", "2?"),
        ("assistant", "</mm:think>4"),
        ("user", "a</mm:think>b"),
        ("assistant", "x<mm:think></mm:think>y</mm:think>\nz"),
        ("system", "Later."),
        ("assistant", ""),
    ],
    [("user", "'quoted\" \\n <|im_end|> {{ x }}")],
]


def render(template, conversation, prompt):
    messages = [{"role": role, "content": content} for role, content in conversation]
    rendered, _ = render_jinja_template(
        conversations=[messages],
        chat_template=template,
        add_generation_prompt=prompt,
        bos_token=BOS,
        eos_token=EOS,
        date_string="26 Jul 2024",
    )
    return rendered[0]


def main():
    as_bytes = lambda text: np.frombuffer(text.encode(), np.uint8)
    arrays, refused = {}, []
    for i, conversation in enumerate(CONVERSATIONS):
        rows = "".join(f"{role}\x1d{content}\x1e" for role, content in conversation)
        arrays[f"messages.{i}"] = as_bytes(rows)
    names = sorted(path.stem for path in FOLDER.glob("*.jinja"))
    for name in names:
        template = (FOLDER / f"{name}.jinja").read_bytes().decode()
        for i, conversation in enumerate(CONVERSATIONS):
            try:
                arrays[f"{name}.{i}.asked"] = as_bytes(render(template, conversation, True))
                arrays[f"{name}.{i}.plain"] = as_bytes(render(template, conversation, False))
            except TemplateError:
                refused.append(f"{name}.{i}")
    facts = {"n": len(CONVERSATIONS), "bos": BOS, "eos": EOS, "refused": " ".join(refused) + " "}
    golden.write("chat", "transformers 5.23, render_jinja_template; see chat.py", facts, arrays)


main()
