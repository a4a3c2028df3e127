"""The one error for input that is wrong; without heavy imports, as every command needs it."""


class InputError(ValueError):
    """The user's input was wrong: the message names the value, the rule and the way out.

    It prints as one line, whatever the names in it hold.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


def one_line(text: str) -> str:
    r"""What does not print, as a newline in a file's name, becomes its escape (`\n`)."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
