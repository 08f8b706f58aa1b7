"""A tool that asks the model behind a connection, which whatever runs the flow fills in."""

import requests
from promptflow.connections import CustomConnection
from promptflow.core import tool


@tool
def ask_the_library(question: str, connection: CustomConnection, longest: int = 64) -> str:
    """The model's answer to `question`, of at most `longest` tokens."""
    messages = [{"role": "user", "content": question.strip()}]
    reply = requests.post(
        connection.endpoint,
        json={"input_data": {"input_string": messages, "parameters": {"max_new_tokens": longest}}},
        headers={"Authorization": f"Bearer {connection.key}"},
        timeout=120,
    )
    reply.raise_for_status()
    return reply.json()["output"].strip()
