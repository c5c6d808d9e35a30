"""How a check fails."""

from recbole_unlearn.errors import UsageError


def hold(condition: bool, message: str) -> None:
    """Refuse a model that a condition does not hold for.

    Raises:
        UsageError: with the message.
    """
    if not condition:
        raise UsageError(message)
