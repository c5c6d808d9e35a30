"""Fit the calibrated encoder, taught by a twin that is trained for it, or without one."""

from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.dataset import Dataset

from recbole_unlearn.data.copies import with_edges_of, with_extra_edges
from recbole_unlearn.encoder.calibrated import CalibratedEncoder, closing_settings
from recbole_unlearn.encoder.snapshot import Snapshot
from recbole_unlearn.encoder.target import N_DECOYS, UnseenScores, decoys, held_out_pairs, never_seen
from recbole_unlearn.encoder.twin import TwinData
from recbole_unlearn.graph import Graph
from recbole_unlearn.model.base import UnlearnableRecommender
from recbole_unlearn.streams import torch_stream
from recbole_unlearn.trainer.backbone import train_backbone


@dataclass(frozen=True)
class TwinTraining:
    """What a twin needs for its training.

    Args:
        train: the original's training data, with the original's ids.
        valid_data: RecBole's evaluation loader, for early stopping.
    """

    train: Dataset
    valid_data: Any


def fit_encoder(
    config: Any,
    original: UnlearnableRecommender,
    held_out: Graph,
    twin: TwinTraining | None = None,
    snapshot: Snapshot | None = None,
) -> tuple[CalibratedEncoder, float]:
    """The encoder of a trained model's requests.

    Args:
        config (Config): settings of the encoder, and of the twin's training, which are those of the original's. An
            interrupted training resumes from ``checkpoint_dir``.
        original: the trained model.
        held_out: positives outside its training data.
        twin: trains one, which teaches too; ``None`` leaves the original alone to teach, by decoys and held-out pairs.
        snapshot: of the original, if it is there already.

    Returns:
        The encoder, and the seconds that earlier runs spent on the twin's training.
    """
    generator, seconds_before = torch_stream(config["seed"], "encoder"), 0.0
    drawn = decoys(original, (original.graph.to("cpu"), held_out), N_DECOYS, generator)
    users, items = (torch.cat(sides) for sides in zip(drawn, held_out_pairs(held_out, generator)))
    snapshot = snapshot or Snapshot.of(original)
    examples = [never_seen(original, (users, items), snapshot.spectrum)]
    if twin is not None:
        parts = TwinData.draw(original, held_out, torch_stream(config["seed"], "twin's data"))
        train = with_extra_edges(with_edges_of(twin.train, parts.shared), *parts.added)
        trained = train_backbone(config, train, "twin", twin.valid_data)
        examples.append(parts.examples(original, trained.model))
        seconds_before = trained.seconds_before
    scores = UnseenScores.fit(*examples)
    return CalibratedEncoder.fit(original, snapshot, scores, generator, **closing_settings(config)), seconds_before
