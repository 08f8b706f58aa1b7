from promptflow import tool


@tool
def say():
    return "nothing asked"
