"""Reads rows of what to forget from Segment's regulations, in JSON.

A regulation of the Public API is ``{"regulationType": "SUPPRESS_WITH_DELETE", "subjectType": "USER_ID", "subjectIds":
[...]}``. One of the older Config API has ``regulation_type`` and ``attributes: {"name": "userId", "values": [...]}``.
"""

import json

import pandas as pd

from recbole_unlearn.data.refusal import refuse
from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.data.request_text import lines_of
from recbole_unlearn.errors import UsageError

# Types that delete a person's data everywhere. The others keep them, or delete Segment's own copies alone.
DELETING = ("SUPPRESS_WITH_DELETE", "DELETE_ONLY", "SUPPRESS_AND_DELETE", "DELETE")


def read_regulations(source: RequestSource, user_field: str) -> pd.DataFrame:
    """The users of a file of regulations: one object, a list of them, or one a line.

    Args:
        source: of the file.
        user_field: name of the column that the table has.

    Returns:
        A row for each user; the index is the user's number in the file, from 1.

    Raises:
        UsageError: the file is something else, or a regulation does not delete users.
    """
    assert source.path is not None
    lines = lines_of(source.path, "utf-8-sig")
    try:
        try:
            found = _plain("".join(lines))
        except json.JSONDecodeError:
            found = [_plain(line) for line in lines if line.strip()]
    except (ValueError, RecursionError):
        raise UsageError(f"{source} is no JSON: give one regulation, a list of them, or one a line.") from None
    regulations = found if isinstance(found, list) else [found]
    users: list[str] = []
    for number, regulation in enumerate(regulations, 1):
        users += _users_of(source, number, regulation)
    index = pd.RangeIndex(1, len(users) + 1, name="user")
    notes = pd.Series("", index=index, dtype=object)
    bad = [not isinstance(user, str) or not user or not _is_text(user) for user in users]
    refuse(source, notes, bad, "have a userId that is no text")
    return pd.DataFrame({user_field: pd.Series(users, index=index, dtype=object)}, index=index)


def _plain(text):
    return json.loads(text, parse_int=str)  # a whole number is an id as it is written


def _users_of(source, number, regulation):
    def refused(what):
        return UsageError(f"{source}: regulation {number} {what}.")

    if not isinstance(regulation, dict):
        raise refused("is no JSON object")
    kind = regulation.get("regulationType", regulation.get("regulation_type"))
    if not isinstance(kind, str) or kind.upper() not in DELETING:
        raise refused(f"does not delete users: its type should be one of {', '.join(DELETING)}")
    of_old = regulation.get("attributes")
    if "subjectIds" in regulation and regulation.get("subjectType") == "USER_ID" and of_old is None:
        users = regulation["subjectIds"]
    elif isinstance(of_old, dict) and of_old.get("name") == "userId" and "subjectIds" not in regulation:
        users = of_old.get("values")
    else:
        raise refused("names no users: it should have subjectType USER_ID with subjectIds, or attributes of userId")
    if not isinstance(users, list) or not users:
        raise refused("has no list of users, or an empty one")
    return users


def _is_text(user):
    try:
        user.encode()  # half a surrogate pair is no text
    except UnicodeEncodeError:
        return False
    return True
