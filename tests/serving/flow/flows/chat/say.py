from promptflow import tool


@tool
def say(question: str, times: int, history: list):
    text = " ".join([question] * times)
    return {"text": text, "turns": len(history), "length": len(text)}
