"""The request of forget_type spam: fake accounts that promote items, and all that they have interacted with."""

from collections.abc import Iterable

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_unlearn.data.copies import with_more_users
from recbole_unlearn.data.pick import picked_nodes
from recbole_unlearn.data.request import Request, request_seed
from recbole_unlearn.data.tokens import ids_of
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.graph import Graph
from recbole_unlearn.settings import Count, Settings, setting
from recbole_unlearn.streams import torch_stream

NEAREST = 3  # names to suggest for an unknown item


class SpamSettings(Settings):
    """The fake accounts of forget_type spam"""

    forget_spam_targets: Count | list[str] = setting(
        1,
        "Items that every account promotes: a list of tokens, or the number to draw from the quarter with the fewest "
        "interactions.",
    )
    forget_spam_profile: Count | None = setting(
        None, "Least number of interactions of an account, targets included; empty takes the users' mean."
    )


def spam_request(config: Config, dataset: Dataset, graph: Graph) -> Request:
    """Draw fake accounts and their interactions, ``forget_ratio`` times the number of training edges in all.

    It is a push attack (Lam and Riedl, WWW 2004; Mobasher et al., ACM TOIT 2007) on implicit feedback. Each account
    interacts with every target, and with filler items that make it a neighbour of many users. As in their bandwagon
    attack, fillers are popular: an account draws them without replacement in proportion to their training degree.

    Accounts are new users, as in those papers, so that the request is exactly what they did, and no user's own
    interactions or test pairs are touched. Their ids follow those of the dataset; see :func:`with_accounts`.

    Args:
        config: settings; the draw has a stream of its own.
        dataset: for tokens.
        graph: its training edges.

    Returns:
        The accounts' interactions, with ``targets`` and ``n_accounts`` for the report.

    Raises:
        UsageError: a target is unknown, or there are more targets than an account can have interactions.
    """
    generator = torch_stream(request_seed(config), "spam")
    user_degrees, weights = graph.degrees().split([graph.n_users, graph.n_items])
    targets = _targets(config["forget_spam_targets"], dataset, graph, generator)
    weights = weights.float().index_fill(0, targets, 0.0)
    mean = len(graph) / max(1, int((user_degrees > 0).sum()))
    wanted, n_others = config["forget_spam_profile"], int((weights > 0).sum())
    most = n_others // 2  # an account gets fewer than two profiles
    for name, number in (("forget_spam_targets", len(targets)), ("forget_spam_profile", wanted or 0)):
        if number > most:
            raise UsageError(
                f"A spam account has at most {most} interactions, half as many as there are items besides its targets "
                f"({n_others}), and not {number}: lower `{name}`."
            )
    profile = wanted or min(most, max(len(targets), round(mean)))
    if len(targets) > profile:
        raise UsageError(
            f"A spam account has {profile} interactions, too few for {len(targets)} targets: lower "
            "`forget_spam_targets` or raise `forget_spam_profile`."
        )
    n_edges = max(round(config["forget_ratio"] * len(graph)), len(targets))
    sizes = _sizes(n_edges, profile)
    items = torch.cat([targets.expand(len(sizes), -1), _fillers(weights, sizes - len(targets), generator)], 1)
    is_used = torch.arange(items.shape[1]) < sizes[:, None]
    users = graph.n_users + torch.arange(len(sizes))
    pairs = (users[:, None] * graph.n_items + items)[is_used].sort().values
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field][targets.numpy()]]
    how = {"targets": tokens, "n_accounts": len(sizes)}
    return Request(pairs // graph.n_items, pairs % graph.n_items, how=how)


def with_accounts(parts: Iterable[Dataset], n_accounts: int) -> list[Dataset]:
    """Copies of datasets with as many more users, named ``[account 1]``, ``[account 2]`` and so on.

    Raises:
        UsageError: the dataset has a user of such a name.
    """
    tokens = [f"[account {number}]" for number in range(1, n_accounts + 1)]
    parts = list(parts)
    taken = np.isin(tokens, parts[0].field2id_token[parts[0].uid_field].astype(str))
    if taken.any():
        raise UsageError(f"The dataset has a user '{tokens[taken.argmax()]}', which is a name of forget_type spam.")
    return [with_more_users(part, tokens) for part in parts]


def _targets(wanted, dataset, graph, generator):
    """Ids of the promoted items."""
    if isinstance(wanted, int):
        return picked_nodes(graph, "item", "inactive", wanted, generator)
    tokens = dataset.field2id_token[dataset.iid_field]
    ids = ids_of(tokens, wanted)
    if (ids < 0).any():
        raise unknown("item in 'forget_spam_targets'", wanted[(ids < 0).argmax()], map(str, tokens[1:]), NEAREST)
    return torch.from_numpy(ids)


def _sizes(n_edges, profile):
    """Edges of each account: as equal as can be, at least a profile unless there are fewer in all."""
    n_accounts = max(1, n_edges // profile)
    return n_edges // n_accounts + (torch.arange(n_accounts) < n_edges % n_accounts).long()


def _fillers(weights, sizes, generator, block=1024):
    """Drawn items of each account, shape ``(accounts, largest size)``; memory is O(block * items)."""
    largest = int(sizes.max())
    if not largest:
        return sizes.new_empty(len(sizes), 0)
    blocks = [
        torch.multinomial(weights.expand(len(some), -1), largest, replacement=False, generator=generator)
        for some in sizes.split(block)
    ]
    return torch.cat(blocks)
