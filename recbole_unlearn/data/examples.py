"""A loader of a network's training examples."""

from collections.abc import Callable, Iterator

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction


class ExampleLoader:
    """Batches of examples in a random order, as RecBole's Trainer reads them.

    Args:
        config: settings of the training.
        dataset: built; metrics of popularity count its interactions.
        examples: numbers of the examples, shape ``(n,)``.
        batch: makes a batch of some of them.
    """

    def __init__(
        self, config: Config, dataset: Dataset, examples: torch.Tensor, batch: Callable[[torch.Tensor], Interaction]
    ) -> None:
        self.dataset, self.examples, self.batch = dataset, examples, batch
        self.size, self.shuffle = config["train_batch_size"], config["shuffle"]
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return -(-len(self.examples) // self.size)

    def __iter__(self) -> Iterator[Interaction]:
        count = len(self.examples)
        order = torch.randperm(count, generator=self.generator) if self.shuffle else torch.arange(count)
        for rows in order.to(self.examples.device).split(self.size):
            yield self.batch(self.examples[rows])
