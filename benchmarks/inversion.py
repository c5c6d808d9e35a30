"""What somebody who holds two versions can infer: rank pairs by how they changed, and see where the forgotten ones are.

    python benchmarks/inversion.py --checkpoint=saved/original-LightGCN-ml-100k-random-2020.safetensors
    python benchmarks/inversion.py --checkpoint=saved/original-LightGCN-ml-100k-random-2020.safetensors --exact=1 --requests "100 interactions"

The attacker has the embeddings of both versions with their tokens, but no model files: those have the edges, and their
difference is the request. Nothing is learned; every attack is a formula:

    score     how far the pair's score falls
    centred   the same, less the mean fall of its user and of its item
    rows      the product of how far its user's and its item's final rows move
    table     the same of the table's rows, which the layers have not mixed

Each attack ranks all pairs of users and items. AUC is the probability that a forgotten pair comes before one that is
not forgotten: any other pair, or another pair of the training data (an attacker who knows everybody's history but for
the request). Of an erased user, who is known by the missing token, only this user's own pairs are ranked. `first` is the share of forgotten pairs among as many first pairs as were forgotten.
"""

import argparse
import os
import tempfile

import numpy as np
import torch
from deletion import fresh_store, request_of

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.requests.resolve import resolve
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version.state import State

MOST = 200_000
REQUESTS = ("1 interaction", "10 interactions", "100 interactions", "1 user")


def request(state, kind, seed):
    """A random request of a kind."""
    graph, generator = state.graphs()["train"], torch.Generator().manual_seed(seed)
    number, what = int(kind.split()[0]), kind.split()[1]
    if what == "user":
        users = torch.unique(graph.users)
        chosen = users[torch.randperm(len(users), generator=generator)[:number]].numpy()
        return DeletionRequest("r", tuple(("user", token, None) for token in state.tokens["user"][chosen]))
    chosen = torch.randperm(len(graph), generator=generator)[:number]
    users, items = graph.users[chosen].numpy(), graph.items[chosen].numpy()
    return request_of("r", list(zip(state.tokens["user"][users], state.tokens["item"][items])))


def attacks(before, after):
    """Name to the suspicion of each pair, shape ``(users - 1, items - 1)``, without padding.

    Args:
        before, after: models.
    """
    n_users = before.n_users

    def sides(table):
        users, items = table.detach().split([n_users, before.n_items])
        return users[1:], items[1:]

    (users, items), (new_users, new_items) = (sides(each.final_embeddings()) for each in (before, after))
    fall = users @ items.T - new_users @ new_items.T
    centred = fall - fall.mean(dim=1, keepdim=True) - fall.mean(dim=0, keepdim=True) + fall.mean()
    own, new = sides(before.ego_embeddings()), sides(after.ego_embeddings())

    def moved(some, others):
        lengths = [(one - other).norm(dim=1) for one, other in zip(some, others)]
        return torch.outer(*lengths)

    rows = moved((users, items), (new_users, new_items))
    return {"score": fall, "centred": centred, "rows": rows, "table": moved(own, new)}


def measured(suspicion, forgotten, training):
    """AUC against all other pairs, against other training pairs, and the share among the first; boolean masks."""
    values, positive = suspicion.numpy().ravel(), forgotten.numpy().ravel()
    of_training = training.numpy().ravel()
    first = np.argpartition(-values, positive.sum())[: positive.sum()]
    return auc(values, positive), auc(values[of_training], positive[of_training]), positive[first].mean()


def auc(values, positive):
    """Over at most ``MOST`` pairs that are not forgotten, evenly spaced."""
    others = values[~positive]
    if not len(others):
        return np.nan
    others = np.sort(others[:: -(-len(others) // MOST)])
    below, up_to = (np.searchsorted(others, values[positive], side=side) for side in ("left", "right"))
    return (below + up_to).mean() / 2 / len(others)


def mask(graph):
    pairs = torch.zeros(graph.n_users, graph.n_items, dtype=torch.bool)
    pairs[graph.users, graph.items] = True
    return pairs[1:, 1:]


def revised(state, asked, resolution, checkpoint, folder):
    return state.without(resolution).model


def trained_anew(state, asked, resolution, checkpoint, folder):
    copy = fresh_store(checkpoint, folder)
    service.unlearn(copy, [asked], {"gpu_id": ""}, exact=True)
    return State.load(Store(service.store_folder(copy)).current().folder).model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--requests", nargs="+", default=REQUESTS, help="kinds of requests, e.g. '1 user'")
    parser.add_argument("--exact", type=int, default=0, help="draws that are trained anew instead of revised")
    arguments = parser.parse_args()
    state = State.load(service.prepare(arguments.checkpoint).current().folder)
    graph = state.graphs()["train"]
    training, make = mask(graph), trained_anew if arguments.exact else revised
    print("| request | attack | AUC, all pairs | AUC, training pairs | first |\n| --- | --- | --- | --- | --- |")
    for kind in arguments.requests:
        found = {}
        for draw in range(arguments.exact or arguments.draws):
            asked = request(state, kind, draw)
            resolution = resolve([asked], state.tokens, state.graphs(), state.counts)
            forgotten = mask(graph.subgraph(~resolution.keep["train"]))
            with tempfile.TemporaryDirectory(dir=os.path.dirname(arguments.checkpoint) or ".") as folder:
                after = make(state, asked, resolution, arguments.checkpoint, folder)
            for name, suspicion in attacks(state.model, after).items():
                gone = torch.from_numpy(resolution.erased["user"])[1:]  # known by the missing token
                some = gone if gone.any() else torch.ones_like(gone)
                found.setdefault(name, []).append(measured(*(each[some] for each in (suspicion, forgotten, training))))
        for name, values in found.items():
            columns = zip(np.mean(values, 0), np.std(values, 0, ddof=int(len(values) > 1)))
            cells = " | ".join("-" if np.isnan(mean) else f"{mean:.3f} ± {sd:.3f}" for mean, sd in columns)
            print(f"| {kind} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
