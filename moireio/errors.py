"""The one exception that the library raises for bad input."""


class MoireioError(Exception):
    """Bad input or a run that cannot go on, told in one line.

    Parameters
    ----------
    what : str
        What is wrong: where, what was expected, what was found.
    path : str or path-like, optional
        The file concerned; it opens the message.
    remedy : str, optional
        What the user can do; it ends the message in parentheses.
    """

    def __init__(self, what, *, path=None, remedy=None):
        super().__init__(what)
        self.what = what
        self.path = None if path is None else str(path)
        self.remedy = remedy

    def __str__(self):
        """Return ``path: what (remedy)`` on a single line."""
        text = self.what if self.path is None else f"{self.path}: {self.what}"
        if self.remedy:
            text = f"{text} ({self.remedy})"
        return " ".join(text.split())

    def __reduce__(self):
        """Pickle with the keyword arguments, so that worker processes can raise it."""
        return _rebuild, (type(self), self.what, self.path, self.remedy)


class DamagedError(MoireioError):
    """A file is cut short, altered, or contradicts itself."""


def _rebuild(cls, what, path, remedy):
    return cls(what, path=path, remedy=remedy)


def first_line(error):
    """Return the first non-empty line of an exception's text, for one-line messages.

    Parameters
    ----------
    error : BaseException
        Any exception, usually a third-party library's.

    Returns
    -------
    str
        That line, or the exception's class name if it has no text.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
