"""What an error says, for the sentence that a user reads."""


def first_line(error: BaseException) -> str:
    """The first line of its text, without spaces around it; the name of its class where it has no text."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip()
