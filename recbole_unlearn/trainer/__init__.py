"""RecBole's Trainer, resumable, for backbones and for the influence encoder; and fits."""

from recbole_unlearn.trainer.backbone import loader_of, train, train_backbone
from recbole_unlearn.trainer.column_parallel import ColumnParallelTrainer
from recbole_unlearn.trainer.influence_encoder import InfluenceEncoderTrainer, UnlearningTask
from recbole_unlearn.trainer.resumable import ResumableTrainer
from recbole_unlearn.trainer.trained import Trained

__all__ = [
    "ColumnParallelTrainer",
    "InfluenceEncoderTrainer",
    "ResumableTrainer",
    "Trained",
    "UnlearningTask",
    "loader_of",
    "train",
    "train_backbone",
]
