class Sayer:
    def __init__(self, greeting: str = "Hello") -> None:
        self.greeting = greeting

    def __call__(self, name: str, loud: bool = False):
        if name == "dict":
            return {"text": self.greeting, "loud": loud}
        if name == "list":
            return [1, 2]
        if name == "stream":
            return (word for word in ["a", "b"])
        if name == "raise":
            raise ValueError("no")
        return f"{self.greeting} {name}{'!' if loud else ''}"
