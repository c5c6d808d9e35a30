"""What the contracts of fitted models and of networks share."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from recbole_unlearn.config import Config
from recbole_unlearn.model import MODELS, Recommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.task import UnlearningData, prepare_data
from recbole_unlearn.testing.runs import fixture, scores, tiny_config


class ModelContract:
    """Settings and data for the checks of one registered model.

    Attributes:
        model: a registered class.
        settings: what differs from :func:`~recbole_unlearn.testing.runs.tiny_settings`.
    """

    model: type[Recommender]
    settings: Mapping[str, Any] = {}

    @fixture(scope="class")
    @classmethod
    def tiny(cls, tmp_path_factory: Any) -> Iterator[tuple[Config, UnlearningData]]:
        """Settings and data; the checks work in a folder of their own."""
        name = cls.model.__name__
        assert MODELS[name] is cls.model, f"{name} is not registered: put @MODELS.register above the class"
        with tiny_config(tmp_path_factory.mktemp(name), name, cls.settings) as config:
            yield config, prepare_data(config)

    def scores_as_before_it_was_saved(
        self, model: Recommender, tiny: tuple[Config, UnlearningData], folder: Path
    ) -> None:
        """Save a model into a folder and load it: the class and all scores are the same."""
        (config, data), path, name = tiny, str(folder / "model.safetensors"), self.model.__name__
        save_model(path, model, config, data.train)
        _, loaded, _ = load_model(path)
        assert isinstance(loaded, self.model), f"A saved {name} loads as {type(loaded).__name__}"
        assert torch.equal(scores(loaded), scores(model)), f"A saved {name} scores otherwise when it is loaded"
