from promptflow import tool


@tool
def fill(title: str, floors: int, heated: bool, tags: list, photo=None):
    return {"summary": f"{title!r} {floors!r} {heated!r}", "photo": photo, "tags": tags}
