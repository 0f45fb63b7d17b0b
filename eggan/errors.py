"""The one exception that stands for a user's mistake, and what other exceptions say."""

import difflib
import errno
import os
from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a missing thing that the user can put right.

    The message is one line that says what is wrong and what to do. The command line prints it
    without a traceback and exits with status 2; the suite runner turns it into a failed cell.
    """


def one_line(error: BaseException) -> str:
    """Return what another library's exception says as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: which one may have been meant, or nothing."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean {found[0]}?" if found else ""


def known_names(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: which one may have been meant, and all there are."""
    names = list(known)
    return f"{nearest(name, names)} (known: {', '.join(names)})"


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, of whatever library, says that the disk or the quota is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return os.strerror(errno.ENOSPC) in str(error)  # safetensors and pyarrow raise errors of their own
