"""Retraining in a store: train the same model from the start on the remaining data."""

import os

import numpy as np
import torch

from recbole_unlearn.config import Config
from recbole_unlearn.data.split import evaluation_loaders, split
from recbole_unlearn.data.tokens import known_ids
from recbole_unlearn.deletion.version.inter_file import READ_WITH
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.trainer import train_backbone


def check_retrainable(config: Config) -> None:
    """Refuse to retrain an imported model that this package would train in another way.

    Raises:
        UsageError: the import recorded an obstacle.
    """
    if config["unlearn_exact_obstacle"]:
        raise UsageError(
            f"--exact cannot train this model again: {config['unlearn_exact_obstacle']}. Train it where it comes from."
        )


def check_revisable(model: UnlearnableRecommender) -> None:
    """Refuse to revise the table of a model that trains weights besides: they would remember what is forgotten.

    Raises:
        UsageError: it has such weights; only a training forgets in them.
    """
    if model.weights_beyond_table:
        raise UsageError(
            f"{type(model).__name__} also learns in {', '.join(model.weights_beyond_table)}, which no revision of its "
            "table unlearns: --exact trains it anew on what remains."
        )


def retrained(state: State, data_folder: str, work_folder: str) -> State:
    """Train a state's model anew. An interrupted training resumes where it stopped.

    The store's format is fixed, so the settings with which the source was read do not matter here.

    Args:
        state: of the remaining data; its model's table is not used.
        data_folder: holds the dataset's folder, with the ``.inter`` files of the state's data.
        work_folder: for the training's own files.

    Returns:
        A state with the same ids; nodes without data have the rows of nodes never seen.
    """
    config = state.config.replace(
        **READ_WITH,
        data_path=os.path.join(data_folder, state.config["dataset"]),
        checkpoint_dir=work_folder,
    )
    dataset, train, valid, test = split(config)
    valid_data, _ = evaluation_loaders(config, dataset, train, valid, test)
    trained = train_backbone(config, train, "exact", valid_data).model
    table = trained.ego_embeddings().detach()
    ego = torch.zeros_like(state.model.ego_embeddings())
    absent = {side: np.ones(len(names), dtype=bool) for side, names in state.tokens.items()}
    offsets = {"user": (0, 0), "item": (state.model.n_users, train.user_num)}
    for (side, (here, there)), field in zip(offsets.items(), (train.uid_field, train.iid_field)):
        tokens = train.field2id_token[field][1:]
        ids = known_ids(state.tokens[side], tokens)
        absent[side][ids] = absent[side][0] = False
        ego[torch.from_numpy(ids) + here] = table[there + 1 : there + 1 + len(tokens)]
    model = state.model.revised(ego, state.model.graph, trained.named_weights())
    return State.prepare(state.config, model, state.tokens, state.held_out, state.counts, absent)
