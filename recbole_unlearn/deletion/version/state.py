"""What a version of a store holds: a model, its encoder, and all of its data."""

import os
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_unlearn.calibration import fit_encoder
from recbole_unlearn.config import Config
from recbole_unlearn.data.request import Request
from recbole_unlearn.deletion.requests.resolve import Resolution
from recbole_unlearn.deletion.version import encoder_file, inter_file, row_counts
from recbole_unlearn.encoder.calibrated import CalibratedEncoder
from recbole_unlearn.encoder.rows import lost_nodes, never_seen_rows, without_rows
from recbole_unlearn.errors import UsageError
from recbole_unlearn.graph import Graph
from recbole_unlearn.model import ExactRecommender, Recommender
from recbole_unlearn.model_file import load_model, write_model

MODEL, ENCODER, DATA = "model.safetensors", "encoder.safetensors", "data"  # files and a folder of a version
EARLIER = {MODEL: "model.pth", ENCODER: "encoder.pth"}  # names in the stores of earlier releases
COUNTS = "counts.safetensors"  # number of rows of each training edge, if some edge has several
HELD_OUT = ("valid", "test")


@dataclass(frozen=True)
class State:
    """A model in service.

    Args:
        config: of its training.
        model: on its training graph. Its padding rows are those of a node never seen.
        tokens: external tokens of ``user`` and ``item``, object arrays in the order of internal ids; None where
            erased.
        held_out: the graphs of ``valid`` and ``test``.
        encoder: of the model; None of a model that forgets without one.
        counts: part of the data to the number of rows of each edge, shape ``(E,)``; only parts in which some edge has
            several rows.
    """

    config: Config
    model: Recommender
    tokens: dict[str, np.ndarray]
    held_out: dict[str, Graph]
    encoder: CalibratedEncoder | None
    counts: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str, config_dict: dict[str, Any] | None = None) -> "State":
        """Read the files of a version; nothing in them is executed.

        Raises:
            UsageError: a file is missing or damaged.
        """
        config, model, lists = load_model(file_of(folder, MODEL), config_dict)
        tokens: dict[str, np.ndarray] = {side: np.array(names, dtype=object) for side, names in lists.items()}
        held_out: dict[str, Graph] = {}
        counts: dict[str, torch.Tensor | None] = {}
        path = os.path.join(folder, COUNTS)
        if os.path.exists(path):
            counts["train"] = of_train = row_counts.read(path)
            if len(of_train) != len(model.graph):
                raise UsageError(f"'{path}' is of another model's data.")
        for part in HELD_OUT:
            users, items = inter_file.read_ids(data_file(folder, config["dataset"], part), config, tokens)
            held_out[part] = Graph.from_edges(users, items, model.n_users, model.n_items)
            counts[part] = row_counts.counts_of(held_out[part], users, items)
        several = {part: of for part, of in counts.items() if of is not None}
        if isinstance(model, ExactRecommender):
            return cls(config, model, tokens, held_out, None, several)
        path = file_of(folder, ENCODER)
        encoder = encoder_file.read(path, model.n_users + model.n_items, config)
        if encoder is None:
            getLogger().info(f"'{path}' is of an earlier release: this one fits the encoder anew, without a twin")
            encoder = _fitted(config, model, tokens, held_out)
        return cls(config, model, tokens, held_out, encoder, several)

    def graphs(self) -> dict[str, Graph]:
        """The graph of each part of the data, on the CPU."""
        return {"train": self.model.graph.to("cpu"), **self.held_out}

    def n_rows(self) -> int:
        """The number of rows in all parts of the data together."""
        return sum(len(row_counts.of_rows(graph.users, self.counts.get(part))) for part, graph in self.graphs().items())

    @classmethod
    def prepare(
        cls,
        config: Config,
        model: Any,
        tokens: dict[str, np.ndarray],
        held_out: dict[str, Graph],
        counts: dict[str, torch.Tensor],
        absent: dict[str, np.ndarray] | None = None,
    ) -> "State":
        """Fit the encoder of a trained model, and set the model's padding rows to those of a node never seen.

        A fitted model needs neither.

        Args:
            config, model, tokens, held_out, counts: of the State.
            absent: ``user`` and ``item`` to a boolean array: nodes whose rows no training made. Default: the erased.
        """
        if isinstance(model, ExactRecommender):
            return cls(config, model, tokens, held_out, None, counts)
        if config["ie_teacher"] == "twin":
            getLogger().info("The store's encoder is made without a twin: a store trains none but what it serves")
            config = config.replace(ie_teacher="none")  # so that the model's file says how its encoder was made
        encoder = _fitted(config, model, tokens, held_out)
        with torch.no_grad():
            ego = model.ego_embeddings().clone()
            nobody = [torch.from_numpy(side).to(ego.device) for side in (absent or erased_of(tokens)).values()]
            ego[0], ego[model.n_users] = never_seen_rows(ego, model.graph, torch.cat(nobody))
            model = model.revised(without_rows(ego, nobody, (ego[0], ego[model.n_users])), model.graph)
        return cls(config, model, tokens, held_out, encoder, counts)

    def without(self, resolution: Resolution) -> "State":
        """The state after requests; one pass of the encoder, or the fitted model itself, forgets all that they name.

        Args:
            resolution: of requests on this state.

        Returns:
            A state in which nodes that are erased, or lose their last training edge, have the padding's row.
        """
        train = self.graphs()["train"]
        remaining = train.subgraph(resolution.keep["train"])
        tokens = {side: names.copy() for side, names in self.tokens.items()}
        for side, erased in resolution.erased.items():
            tokens[side][erased] = None
        encoder = self.encoder and self.encoder.without(without_trace(tokens, remaining).to(self.model.device))
        return State(
            self.config,
            self._revised(resolution, train, remaining),
            tokens,
            {part: graph.subgraph(resolution.keep[part]) for part, graph in self.held_out.items()},
            encoder,
            {part: counts[resolution.keep[part]] for part, counts in self.counts.items()},
        )

    def _revised(self, resolution, train, remaining):
        """The model after requests."""
        model: Any = self.model
        if self.encoder is None:
            return model.forgotten(remaining)
        gone = ~resolution.keep["train"]
        request = Request(train.users[gone], train.items[gone])
        ego = self.encoder(model, remaining.to(model.device), request).ego
        lost = [
            (torch.from_numpy(erased) | alone).to(ego.device)
            for erased, alone in zip(resolution.erased.values(), lost_nodes(train, remaining))
        ]
        return model.revised(without_rows(ego, lost, (ego[0], ego[model.n_users])), remaining)

    def write(self, folder: str, write_rows: Callable[[str, str], None]) -> None:
        """Write the files of a version.

        Args:
            folder: empty.
            write_rows: takes the name of a part of the data and the path of the ``.inter`` file to write.
        """
        write_model(os.path.join(folder, MODEL), self.model, self.config, self.tokens)
        if self.encoder:
            encoder_file.write(os.path.join(folder, ENCODER), self.encoder)
        if "train" in self.counts:
            row_counts.write(os.path.join(folder, COUNTS), self.counts["train"])
        write_data(folder, self.config["dataset"], write_rows)


def name_in(names: Container[str], name: str) -> str:
    """The name of a version's ``MODEL`` or ``ENCODER`` among the names of its files."""
    return EARLIER[name] if EARLIER[name] in names and name not in names else name


def file_of(folder: str, name: str) -> str:
    """The path of a version's ``MODEL`` or ``ENCODER``, of any release; this release's name if neither exists."""
    there = [each for each in (name, EARLIER[name]) if os.path.exists(os.path.join(folder, each))]
    return os.path.join(folder, name_in(there, name))


def _fitted(config, model, tokens, held_out):
    """The encoder of a trained model, without what it knows of nodes of which nothing may be known."""
    encoder, _ = fit_encoder(config, model, held_out["valid"])
    return encoder.without(without_trace(tokens, model.graph).to(model.device))


def erased_of(tokens: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``user`` and ``item`` to a boolean array: whether each has lost its token."""
    return {side: np.asarray(names, dtype=object) == None for side, names in tokens.items()}  # noqa: E711  (of each)


def without_trace(tokens: dict[str, np.ndarray], graph: Graph) -> torch.Tensor:
    """Whether each node is erased or has no training edge, shape ``(N,)``: nothing may be known of such a node.

    Args:
        tokens: of ``user`` and ``item``, in the order of internal ids.
        graph: training edges.
    """
    return torch.from_numpy(np.concatenate([*erased_of(tokens).values()])) | (graph.degrees() == 0).cpu()


def write_data(folder: str, dataset: str, write_rows: Callable[[str, str], None]) -> None:
    """Write all parts of the data below a folder; see :meth:`State.write`."""
    for part in ("train", *HELD_OUT):
        path = data_file(folder, dataset, part)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_rows(part, path)


def read_data(folder: str, dataset: str) -> dict[str, pd.DataFrame]:
    """A table of rows for each part of the data: texts and numbers, a column a field."""
    return {part: inter_file.read_table(data_file(folder, dataset, part)) for part in ("train", *HELD_OUT)}


def data_file(folder: str, dataset: str, part: str) -> str:
    """The path of a part of the data, where RecBole reads it with ``benchmark_filename: [train, valid, test]``."""
    return os.path.join(folder, DATA, dataset, f"{dataset}.{part}.inter")
