"""RecBole's Trainer, resumable, for backbones and for the influence encoder."""

from recbole_unlearn.trainer.backbone import Trained, train, train_backbone
from recbole_unlearn.trainer.column_parallel import ColumnParallelTrainer
from recbole_unlearn.trainer.influence_encoder import InfluenceEncoderTrainer, UnlearningTask
from recbole_unlearn.trainer.resumable import ResumableTrainer

__all__ = [
    "ColumnParallelTrainer",
    "InfluenceEncoderTrainer",
    "ResumableTrainer",
    "Trained",
    "UnlearningTask",
    "train",
    "train_backbone",
]
