"""Small chat templates of the shapes that models with tools have, and a tokenizer for each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.tiny_tokenizer import make_tiny_tokenizer

# Qwen3's: calls between tags that are text, results as a user's, an empty thought before the last
# answer, and thoughts taken out of earlier ones.
QWEN3 = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif -%}
# Tools{% for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor %}<|im_end|>
{% elif messages[0].role == 'system' %}{{ '<|im_start|>system\\n' + messages[0].content }}<|im_end|>
{% endif %}
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}{{ '<|im_start|>user\\n' + m.content }}<|im_end|>
{% elif m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}
{%- if loop.last and loop.index0 > ns.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{{- m.content.split('</think>')[-1].lstrip('\\n') }}
{%- for call in m.tool_calls or [] %}
{%- if not loop.first or m.content %}{{ '\\n' }}{% endif %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{%- set arguments = call.function.arguments %}
{{- arguments if arguments is string else arguments | tojson }}
{{- '}\\n</tool_call>' }}{% endfor %}<|im_end|>
{% elif m.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>
{% endif %}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Llama 3's: one call, its arguments called parameters, no text beside it; results from "ipython".
LLAMA3 = """\
{{- '<|im_start|>system\\n' }}
{%- if tools is not none %}{% for t in tools %}{{ t | tojson(indent=4) }}{{ '\\n\\n' }}{% endfor %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}
{%- set messages = messages[1:] %}{% endif %}{{ '<|im_end|>' }}
{%- for message in messages %}
{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
{{- '<|im_start|>' + message['role'] + '\\n\\n' + message['content'] | trim + '<|im_end|>' }}
{%- elif 'tool_calls' in message %}
{%- if not message.tool_calls | length == 1 %}{{ raise_exception('Only single tool-calls!') }}
{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|im_start|>assistant\\n\\n' }}{{ '{"name": "' + call.name + '", "parameters": ' }}
{{- call.arguments | tojson }}{{ '}<|im_end|>' }}
{%- else %}{{ '<|im_start|>ipython\\n\\n' }}
{%- if message.content is mapping %}{{ message.content | tojson }}{% else %}{{ message.content }}
{%- endif %}{{ '<|im_end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n\\n' }}{% endif %}"""

# Mistral's: a call begins with a control token of its own; ids have nine letters.
MISTRAL = """\
{%- set asked = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for message in messages %}
{%- if message.role == 'user' %}
{%- if tools and message == asked[-1] %}[AVAILABLE_TOOLS] [
{%- for tool in tools %}{{ tool.function | tojson }}{% endfor %}][/AVAILABLE_TOOLS]{% endif %}
{{- '[INST] ' + message.content + '[/INST]' }}
{%- elif message.tool_calls is defined and message.tool_calls is not none %}
{{- '[TOOL_CALLS] [' }}{% for call in message.tool_calls %}
{%- if call.id | length != 9 %}{{ raise_exception('Tool call IDs have length 9!') }}{% endif %}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}
{{- ', ' if not loop.last else ']' }}
{%- endfor %}{{ eos_token }}
{%- elif message.role == 'tool' %}
{{- '[TOOL_RESULTS] {"content": ' + message.content + ', "id": "' + message.tool_call_id }}
{{- '"}[/TOOL_RESULTS]' }}
{%- elif message.role == 'assistant' %}{{ ' ' + message.content + eos_token }}{% endif %}
{%- endfor %}"""

TEMPLATES = {"qwen3": QWEN3, "llama3": LLAMA3, "mistral": MISTRAL}
_MISTRAL_TOKENS = (
    *("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
)


def make_tools_tokenizer(folder: Path, style: str) -> Path:
    """ChatML's tiny tokenizer with the template of `style`, and the control tokens it needs."""
    from tokenizers import AddedToken, Tokenizer

    make_tiny_tokenizer(folder, style="chatml")
    (folder / "chat_template.jinja").write_text(TEMPLATES[style], encoding="utf-8")
    if style == "mistral":
        path = folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.add_special_tokens([AddedToken(t, special=True) for t in _MISTRAL_TOKENS])
        tokenizer.save(str(path))
    return folder


def with_template(folder: Path, template: str, into: Path) -> Path:
    """A copy of a tokenizer's folder with another template."""
    shutil.copytree(folder, into)
    (into / "chat_template.jinja").write_text(template, encoding="utf-8")
    return into


def load_arguments(messages: list[dict[str, object]]) -> list[dict[str, object]]:
    """As people hand messages to `transformers`: arguments as an object, and no weight."""
    copied = json.loads(json.dumps(messages))
    for message in copied:
        message.pop("weight", None)
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return copied
