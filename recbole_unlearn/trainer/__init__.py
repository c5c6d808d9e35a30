"""RecBole's Trainer, made resumable, for backbones and for the influence encoder."""

from recbole_unlearn.trainer.backbone import Trained, train, train_backbone
from recbole_unlearn.trainer.influence_encoder import InfluenceEncoderTrainer, UnlearningTask
from recbole_unlearn.trainer.resumable import ResumableTrainer

__all__ = ["UnlearningTask", "InfluenceEncoderTrainer", "ResumableTrainer", "Trained", "train", "train_backbone"]
