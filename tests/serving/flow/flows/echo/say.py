import os
import threading

from promptflow import tool

GO_ON = threading.Event()


def pieces():
    yield from ["a", "b", "c"]


def breaking():
    yield "a"
    raise ValueError("broken off")


@tool
def say(question: str):
    if question == "raise":
        raise ValueError("no")
    if question == "leave":
        raise SystemExit(4)
    if question == "die":
        os._exit(3)
    if question == "hang":
        GO_ON.wait(600)
    if question == "stream":
        return pieces()
    if question == "break":
        return breaking()
    if question == "key":
        raise ValueError(f"the key is {os.environ.get('ECHO_KEY')}")
    return f"You said {question}"
