"""`UserError` is not caught by handlers that are meant for the system's errors."""

from eggan.errors import UserError


def test_it_is_neither_a_system_nor_a_value_error():
    assert UserError.__mro__[1] is Exception
    assert str(UserError("say what to do")) == "say what to do"
