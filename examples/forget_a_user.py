"""Train a model, let one user forget half of what they did, and see their recommendations change.

python examples/forget_a_user.py [--any_key=value ...]
"""

import sys

from recbole_unlearn import Deletion, DeletionRequest, run_unlearn
from recbole_unlearn.report.files import model_file
from recbole_unlearn.saved_model import load_current, load_model

SETTINGS = {"forget_type": "random", "forget_ratio": 0.001, "unlearn_methods": ["DropEdges"]}  # leaves a checkpoint
N_SHOWN = 10


def top(model, tokens, user):
    """The items that a model recommends to a user: those without an interaction, best first."""
    users, items = model.final_embeddings().split([model.n_users, model.n_items])
    scores = items @ users[user]
    scores[0] = -float("inf")  # padding
    scores[model.graph.items[model.graph.users == user]] = -float("inf")
    return [tokens["item"][item] for item in scores.topk(N_SHOWN).indices.tolist()]


def main(arguments: list[str]) -> None:
    """Train (or load the same training), delete, and print both lists."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    report = run_unlearn(
        model=given.pop("model", "LightGCN"), dataset=given.pop("dataset", "ml-100k"), config_dict={**SETTINGS, **given}
    )
    checkpoint = model_file(report["config"], "original")
    _, model, tokens = load_model(checkpoint)
    user = int(model.graph.users.bincount().argmax())  # the most active one
    before = top(model, tokens, user)
    theirs = [tokens["item"][item] for item in model.graph.items[model.graph.users == user].tolist()]

    name = tokens["user"][user]
    rows = [("interaction", name, item) for item in theirs[: len(theirs) // 2]]
    result = Deletion(checkpoint).unlearn([DeletionRequest(f"half-of-{len(rows)}", rows)])
    current = load_current(result["store"])
    after = top(current.model, current.tokens, current.tokens["user"].index(name))

    print(f"A user forgets {len(rows)} of {len(theirs)} interactions; {N_SHOWN} recommendations:")
    print("  before:", *before)
    print("  after: ", *after)
    print(f"  {len(set(before) & set(after))} of {N_SHOWN} are the same; receipt: {result['store']}/receipts")


if __name__ == "__main__":
    main(sys.argv[1:])
