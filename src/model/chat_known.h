/* chat_known.h: the chat templates this version knows, for chat.c alone: their Jinja text with
 * holes (see jinja_form.h), compared in canonical form. */
#ifndef MSA_MODEL_CHAT_KNOWN_H
#define MSA_MODEL_CHAT_KNOWN_H

#include "model/chat.h"

#define CHATML_TURN     "'<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n'"
#define SYSTEM_TURN     "{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
#define PROMPT_IF_ASKED "{% if add_generation_prompt %}{{ '%P' }}{% endif %}"
#define LLAMA3_TURN                                                                                \
    "'<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + " \
    "'<|eot_id|>'"
#define LLAMA3_MESSAGES                                                                            \
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content "          \
    "= " LLAMA3_TURN                                                                               \
    " %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"               \
    "{{ content }}{% endfor %}"
#define QWEN3_MESSAGES                                                                             \
    "{% if tools %}%*{% else %}{% if messages[0].role == 'system' %}" SYSTEM_TURN                  \
    "{% endif %}{% endif %}{% set ns = namespace(multi_step_tool=true, "                           \
    "last_query_index=messages|length - 1) %}{% for message in messages[::-1] %}{% set index = "   \
    "(messages|length - 1) - loop.index0 %}{% if ns.multi_step_tool and message.role == 'user' "   \
    "and %*not(message.content.startswith('<tool_response>') and "                                 \
    "message.content.endswith('</tool_response>')) %}{% set ns.multi_step_tool = false %}{% set "  \
    "ns.last_query_index = index %}{% endif %}{% endfor %}{% for message in messages %}%*{% if "   \
    "(message.role == 'user') or (message.role == 'system' and not loop.first) %}"                 \
    "{{ '<|im_start|>' + message.role + '\\n' + %* + '<|im_end|>\\n' }}{% elif message.role == "   \
    "'assistant' %}{% set %*content.split('</think>')[0].rstrip('\\n').split('<think>')[-1]"       \
    ".lstrip('\\n') %}%*{% if loop.index0 > ns.last_query_index %}{% if loop.last or (not "        \
    "loop.last and reasoning_content) %}{{ '<|im_start|>' + message.role + '\\n<think>\\n' + "     \
    "reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}{% else %}"    \
    "{{ '<|im_start|>' + message.role + '\\n' + content }}{% endif %}{% else %}"                   \
    "{{ '<|im_start|>' + message.role + '\\n' + content }}{% endif %}{% if message.tool_calls %}"  \
    "%*{{ '<|im_end|>\\n' }}{% elif message.role == 'tool' %}%*"
/* MiniMax-M3's. What it prints of tools, pictures and forced thinking modes is left open: a
 * conversation of texts meets none of it. */
#define M3_IDENTITY "You are a helpful assistant."
#define M3_ADAPTIVE                                                                                \
    "Current thinking mode: adaptive. You are encouraged to think for complex decision-making, "   \
    "multi-step reasoning, or when analyzing function/tool results."
#define M3_CAPABILITY                                                                              \
    "You have a thinking capability that allows you to reason step by step before responding. "    \
    "When thinking is enabled, wrap your reasoning in "
#define M3_CAPABILITY_2                                                                            \
    " tags before your response. When thinking is disabled, begin your response directly after "   \
    "the "
#define M3_CAPABILITY_3                                                                            \
    " prefix. When thinking is adaptive, decide on your own whether to think for the current "     \
    "turn."
#define M3_TOKENS                                                                                  \
    "{% set ns_token = ']<]minimax[>[' %}{% set bod_token = ']~!b[' %}{% set bos_token = ']~b]' "  \
    "%}{% set eos_token = '[e~[' %}{% set toolcall_begin_token = ns_token ~ '<tool_call>' %}"      \
    "{% set toolcall_end_token = ns_token ~ '</tool_call>' %}{% set think_begin_token = "          \
    "'<mm:think>' %}{% set think_end_token = '</mm:think>' %}%*"
#define M3_MACROS                                                                                  \
    "{% macro visible_text(content) %}{% if content is string %}{{ content }}{% elif content is "  \
    "iterable and content is not mapping %}%*{% endmacro %}"                                       \
    "{% macro build_system_message(system_message) %}{% if system_message and "                    \
    "system_message.content %}{{ visible_text(system_message.content) }}{% else %}{{ '%S' }}"      \
    "{% endif %}{{ '\\n\\n<thinking_instructions>\\n' }}{{ '" M3_CAPABILITY                        \
    "' ~ think_begin_token ~ think_end_token ~ '" M3_CAPABILITY_2                                  \
    "' ~ think_end_token ~ '" M3_CAPABILITY_3                                                      \
    "\\n' }}{% if thinking_mode is defined %}%*{% else %}{{ '" M3_ADAPTIVE                         \
    "\\n' }}{% endif %}{{ '</thinking_instructions>' }}{% endmacro %}"                             \
    "{% macro build_developer_message(developer_message) %}{% if developer_message and "           \
    "developer_message.content %}{{ visible_text(developer_message.content) }}{% else %}"          \
    "{% if model_identity is not defined %}{% set model_identity = '" M3_IDENTITY                  \
    "' %}{% endif %}{{ model_identity }}{% endif %}{% endmacro %}"
#define M3_FRONT                                                                                   \
    "{% set system_message = none %}{% set developer_message = none %}{% set "                     \
    "conversation_messages = messages %}{% if messages and messages[0].role == 'root' %}%*"        \
    "{% elif messages and messages[0].role in ['system', 'developer'] %}{% set "                   \
    "developer_message = messages[0] %}{% set conversation_messages = messages[1:] %}{% endif %}"  \
    "{{ bod_token ~ bos_token ~ 'system' ~ '\\n' }}{{ build_system_message(system_message) }}"     \
    "{{ eos_token ~ '\\n' }}{{ bos_token ~ 'developer' ~ '\\n' }}"                                 \
    "{{ build_developer_message(developer_message) }}%*{{ eos_token ~ '\\n' }}"
#define M3_ANSWER                                                                                  \
    "{% if message.role == 'assistant' %}{{ bos_token ~ 'ai' ~ '\\n' }}{% set reasoning_content "  \
    "= '' %}{% set content = visible_text(message.content) %}{% if message.reasoning_content is "  \
    "string %}{% set reasoning_content = message.reasoning_content %}{% else %}"                   \
    "{% if think_end_token in content %}{% set reasoning_content = "                               \
    "content.split(think_end_token)[0].strip('\\n').split(think_begin_token)[-1].strip('\\n') %}"  \
    "{% set content = content.split(think_end_token)[-1].strip('\\n') %}{% endif %}{% endif %}"    \
    "{% if reasoning_content %}{{ think_begin_token ~ reasoning_content ~ think_end_token }}"      \
    "{% else %}{{ think_end_token }}{% endif %}{% if content %}{{ content }}{% endif %}"           \
    "{% if message.tool_calls %}%*{% else %}{% set last_tool_call.name = none %}{% endif %}"       \
    "{{ eos_token ~ '\\n' }}"
#define ZEPHYR_TURN(role)                                                                          \
    " message.role == '" role "' %}\n{{ '<|" role "|>\\n' + message.content + eos_token }}\n"

static const struct known_template {
    const char *name;
    chat_family family;
    bool begins_with_bos, always_prompts;
    const char *jinja;
} known_templates[] = {
    {"chatml", CHAT_CHATML, false, false,
     "{% for message in messages %}{{ " CHATML_TURN " }}{% endfor %}" PROMPT_IF_ASKED},
    {"chatml", CHAT_CHATML, false, false,
     "{% for message in messages %}{{ " CHATML_TURN " }}{% if loop.last and add_generation_prompt "
     "%}{{ '%P' }}{% endif %}{% endfor %}"},
    {"chatml-default-system", CHAT_CHATML, false, false, /* SmolLM2, Qwen2 */
     "{% for message in messages %}{% if loop.first and messages[0].role != 'system' %}"
     "{{ '<|im_start|>system\\n%S<|im_end|>\\n' }}{% endif %}{{ " CHATML_TURN
     " }}{% endfor %}" PROMPT_IF_ASKED},
    {"qwen2.5", CHAT_CHATML, false, false,
     "{% if tools %}%*{% else %}{% if messages[0].role == 'system' %}" SYSTEM_TURN
     "{% else %}{{ '<|im_start|>system\\n%S<|im_end|>\\n' }}{% endif %}{% endif %}{% for message "
     "in messages %}{% if (message.role == 'user') or (message.role == 'system' and not "
     "loop.first) or (message.role == 'assistant' and not message.tool_calls) %}{{ " CHATML_TURN
     " }}{% elif message.role == 'assistant' %}%*{% endif %}{% endfor %}" PROMPT_IF_ASKED},
    {"qwen3", CHAT_QWEN3, false, false,
     QWEN3_MESSAGES
     "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '%P' }}{% if "
     "enable_thinking is defined and enable_thinking is false %}{{ %* }}{% endif %}{% endif %}"},
    {"qwen3", CHAT_QWEN3, false, false, QWEN3_MESSAGES "{% endif %}{% endfor %}" PROMPT_IF_ASKED},
    {"llama-2", CHAT_LLAMA2, true, false,
     "{% if messages[0].role == 'system' %}{% set loop_messages = messages[1:] %}{% set "
     "system_message = messages[0].content %}{% else %}{% set loop_messages = messages %}{% set "
     "system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message.role "
     "== 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception(%*) }}{% endif %}{% if "
     "loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + "
     "system_message + '\\n<</SYS>>\\n\\n' + message.content %}{% else %}{% set content = "
     "message.content %}{% endif %}{% if message.role == 'user' %}{{ bos_token + '[INST] ' + "
     "content.strip() + ' [/INST]' }}{% elif message.role == 'assistant' %}{{ ' ' + "
     "content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
    {"llama-3", CHAT_LLAMA3, true, false, LLAMA3_MESSAGES PROMPT_IF_ASKED},
    {"llama-3", CHAT_LLAMA3, true, true, LLAMA3_MESSAGES "{{ '%P' }}"},
    {"llama-3.1", CHAT_LLAMA31, true, false, /* also 3.2 and 3.3 */
     "{{ bos_token }}%*{% set date_string = '26 Jul 2024' %}%*{% if messages[0].role == 'system' "
     "%}{% set system_message = messages[0].content|trim %}{% set messages = messages[1:] %}"
     "{% else %}{% set system_message = '' %}{% endif %}"
     "{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' }}%*"
     "{{ 'Cutting Knowledge Date: December 2023\\n' }}{{ 'Today Date: ' + date_string + '\\n\\n' "
     "}}%*{{ system_message }}{{ '<|eot_id|>' }}%*{% for message in messages %}{% if not "
     "(message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) "
     "%}{{ " LLAMA3_TURN
     " }}{% elif 'tool_calls' in message %}%*{% endif %}{% endfor %}" PROMPT_IF_ASKED},
    {"minimax-m3", CHAT_MINIMAX_M3, false, false,
     M3_TOKENS M3_MACROS M3_FRONT
     "{% set last_tool_call = namespace(name=none) %}{% for message in conversation_messages "
     "%}" M3_ANSWER "{% elif message.role == 'tool' %}%*{% elif message.role == 'user' %}"
     "{{ bos_token ~ 'user' ~ '\\n' }}{{ visible_text(message.content) }}{{ eos_token ~ '\\n' }}"
     "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ bos_token ~ 'ai' ~ '\\n' }}"
     "{% if thinking_mode is defined and thinking_mode == 'disabled' %}{{ think_end_token }}"
     "{% elif thinking_mode is defined and thinking_mode == 'adaptive' %}{% elif thinking_mode is "
     "defined and thinking_mode == 'enabled' %}{{ think_begin_token }}{% else %}{% endif %}"
     "{% endif %}"},
    {"zephyr", CHAT_ZEPHYR, false, false,
     "{% for message in messages %}\n{% if" ZEPHYR_TURN("user") "{% elif" ZEPHYR_TURN(
         "system") "{% elif" ZEPHYR_TURN("assistant") "{% endif %}\n{% if loop.last and "
                                                      "add_generation_prompt "
                                                      "%}\n{{ '%P' }}\n{% endif %}\n{% endfor %}"},
};

#endif
