"""What forgetting single pairs, and many alike, does to the pairs around them (the paper's Fig. 6).

    python benchmarks/case_study.py --model=LightGCN --dataset=ml-1m [--report_file=case-study.json] [--any_key=value ...]

Users are drawn by the seed. Those of the first case forget one interaction, those of the second the same and the ones most like it.
All are one request. Items are alike if the same users interacted with them (cosine), so that no model decides it. The report of the run
gets an entry ``cases``: mean score of pairs by case, by group of pairs, and by model.
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from recbole_unlearn.command_line import INTERRUPTED, parse
from recbole_unlearn.commands.run import keywords
from recbole_unlearn.config import Config
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import write_aside
from recbole_unlearn.graph import Graph
from recbole_unlearn.model_file import load_model
from recbole_unlearn.quick_start import run_unlearn
from recbole_unlearn.report.files import beside, model_file, report_path, save_json
from recbole_unlearn.report.tables import label
from recbole_unlearn.task import prepare_data

N_USERS = 100  # of each case
FORGOTTEN = {"one interaction": 1, "ten alike": 10}  # interactions a user of a case forgets
GROUP = 5  # pairs a user has in each other group
MODELS = (("original", ""), ("Retrain", ""), ("UnlearnRec", "zero-shot"))


def likeness(matrix, item):
    """Cosine of an item's column to every column.

    Args:
        matrix (scipy.sparse.csc_matrix): users x items, of ones.
        item (int): column.

    Returns:
        np.ndarray: shape ``(n_items,)``.
    """
    degrees = np.asarray(matrix.sum(axis=0)).ravel()
    together = np.asarray((matrix.T @ matrix[:, [item]]).todense()).ravel()
    return together / np.sqrt(np.maximum(degrees * degrees[item], 1))


def groups_of(user, matrix, observed, n_forgotten, generator):
    """A user's pairs: an interaction drawn at random and those most like it, and pairs to compare with.

    Args:
        user (int): with more than ``n_forgotten + 2 * GROUP`` interactions.
        matrix (scipy.sparse.csc_matrix): training interactions, users x items, of ones.
        observed (scipy.sparse.csr_matrix): of all parts.
        n_forgotten (int): interactions to forget.
        generator (np.random.Generator): of the draws.

    Returns:
        dict: name of a group to items, an array.
    """
    own = matrix[[user]].nonzero()[1]
    drawn = generator.choice(own)
    alike = likeness(matrix, drawn)
    alike[drawn] = np.inf  # and not the first of several that the same users interacted with
    own = own[np.argsort(-alike[own], kind="stable")]
    free = np.setdiff1d(np.arange(1, matrix.shape[1]), observed[[user]].nonzero()[1])  # 0 is padding
    free = free[np.argsort(-alike[free], kind="stable")]
    forgotten, kept = own[:n_forgotten], own[n_forgotten:]
    return {
        "forgotten": forgotten,
        "kept, alike": kept[:GROUP],
        "kept, others": generator.choice(kept[GROUP:], GROUP, replace=False),
        "unseen, alike": free[:GROUP],
        "unseen, others": generator.choice(free[GROUP:], GROUP, replace=False),
    }


def draw_cases(data, seed):
    """The cases of a study.

    Args:
        data (UnlearningData): of a run.
        seed (int): of the draws.

    Returns:
        dict: name of a case to name of a group to pairs, ``(users, items)`` arrays of equal length.

    Raises:
        UsageError: too few users have both enough interactions and enough items that they never had.
    """
    generator = np.random.default_rng(seed)
    matrix, observed = _matrix(data.graph), _matrix(Graph.union(*data.observed)).tocsr()
    trained, had = (np.asarray(edges.sum(axis=1)).ravel() for edges in (matrix, observed))
    enough, unseen = max(FORGOTTEN.values()) + 2 * GROUP, 2 * GROUP
    able = np.flatnonzero((trained > enough) & (matrix.shape[1] - 1 - had >= unseen))
    if len(able) < len(FORGOTTEN):
        raise UsageError(
            f"A case study needs {len(FORGOTTEN)} users of more than {enough} training interactions and with {unseen} items that "
            f"they never had; there are {len(able)}."
        )
    chosen = iter(np.array_split(generator.permutation(able)[: len(FORGOTTEN) * N_USERS], len(FORGOTTEN)))
    cases = {}
    for (case, n_forgotten), users in zip(FORGOTTEN.items(), chosen):
        drawn = [groups_of(user, matrix, observed, n_forgotten, generator) for user in users]
        cases[case] = {
            name: (
                np.repeat(users, [len(groups[name]) for groups in drawn]),
                np.concatenate([groups[name] for groups in drawn]),
            )
            for name in drawn[0]
        }
    return cases


def write_request(path, train, cases):
    """Write what all cases forget as an atomic file of tokens."""
    fields = train.uid_field, train.iid_field
    sides = [np.concatenate(side) for side in zip(*(groups["forgotten"] for groups in cases.values()))]
    tokens = [train.id2token(field, side) for field, side in zip(fields, sides)]
    lines = ["\t".join(f"{field}:token" for field in fields), *map("\t".join, zip(*tokens))]
    write_aside(path, lambda temporary: Path(temporary).write_text("\n".join(lines) + "\n", encoding="utf-8"))


def scores(model, users, items):
    """Scores of pairs, a tensor."""
    table = model.final_embeddings()
    return (table[torch.as_tensor(users)] * table[model.graph.n_users + torch.as_tensor(items)]).sum(dim=1)


def study(arguments):
    """Draw the cases, run the pipeline on them as one request, and look at all models that it saved."""
    given = keywords(parse(arguments)[1])
    named = given["model"], given["dataset"], given["config_file_list"]
    config = Config(*named, given["config_dict"])
    data = prepare_data(Config(*named, {**given["config_dict"], "forget_type": "random"}))
    cases = draw_cases(data, config["seed"])

    config = config.replace(forget_type="file")
    report_file = report_path(config)
    request = beside(report_file, ".inter")
    write_request(request, data.train, cases)
    Path(report_file).unlink(missing_ok=True)  # rows taken over would come without the models looked at below
    wanted = {"forget_type": "file", "forget_file": request, "unlearn_methods": ["Retrain", "UnlearnRec"]}
    run_unlearn(*named, {**given["config_dict"], **wanted})

    means = {case: {group: {} for group in groups} for case, groups in cases.items()}
    for method, stage in MODELS:
        file = model_file(config, method, stage)
        trained, model, _ = load_model(file)
        settings = {
            key: value for key, value in trained.as_dict().items() if not key.startswith("forget_")
        }  # of no saved model
        if not config.same_results(settings):
            raise UsageError(
                f"'{file}' is of another run, started meanwhile: give one of them a --checkpoint_dir of its own."
            )
        for case, groups in cases.items():
            for group, pairs in groups.items():
                row = label({"method": method, "stage": stage})
                means[case][group][row] = scores(model, *pairs).mean().item()
    report = json.loads(Path(report_file).read_text(encoding="utf-8"))
    save_json(report_file, {**report, "cases": means})


def main():
    """Exit code 2 after wrong usage, 130 after an interruption, as ``run_unlearn.py``."""
    try:
        study(sys.argv[1:])
    except UsageError as error:
        print(f"case_study: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _matrix(graph):
    edges = graph.users.numpy(), graph.items.numpy()
    return sp.csc_matrix((np.ones(len(graph)), edges), shape=(graph.n_users, graph.n_items))


if __name__ == "__main__":
    main()
