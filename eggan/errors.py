"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """A mistake or a missing thing that the user can put right.

    The message is one line that says what is wrong and what to do. The command line prints it
    without a traceback and exits with status 2; the suite runner turns it into a failed cell.
    """
