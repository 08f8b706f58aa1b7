import time

from promptflow import tool


def slowly(text, pieces):
    for number in range(pieces):
        yield text.format(number)
        time.sleep(0.005)


def breaking():
    yield "half of it"
    raise ValueError("broken off")


@tool
def talk(question: str, times: int, history: list):
    if question == "raise":
        raise ValueError("closed on Sundays")
    if question == "break":
        return breaking()
    if question == "long":
        return slowly("Sentence {} of a long answer.\n", 60)
    if question == "endless":
        return slowly("word{} ", 100_000)
    return f"{len(history)}: {question * times}"
