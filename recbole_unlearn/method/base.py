"""What an unlearning method is."""

from recbole_unlearn.registry import Registry

METHODS = Registry("unlearning method")


class Unlearner:
    """One unlearning method in one run.

    Implement :meth:`unlearn`, and :meth:`prepare` if there is something to do before a request comes; add a yaml
    ``properties/method/<Name>.yaml`` and register the class. The docstring cites the paper.

    Args:
        config (Config): settings, with the method's yaml.
        data (UnlearningData): the training data. ``prepare`` may look at ``train`` and validation data only,
            ``unlearn`` also at ``request`` and ``remaining``; neither at test data.
        original (UnlearnableRecommender): the trained model; never changed.
    """

    def __init__(self, config, data, original):
        self.config, self.data, self.original = config, data, original

    def prepare(self):
        """Offline work; returns the seconds that earlier runs had spent on it, if it continued theirs."""
        return 0.0

    def unlearn(self):
        """Online work: yield ``(stage, model, seconds)`` for each stage of the result.

        A later stage may go on from an earlier one: its time then includes the earlier one's. ``model`` is a RecBole
        recommender (``predict``, ``full_sort_predict``, the id fields and ``device``); one that is an
        :class:`~recbole_unlearn.model.UnlearnableRecommender` is also saved. ``seconds`` is what an earlier,
        interrupted run of the same work had spent on it, mostly 0.
        """
        raise NotImplementedError
