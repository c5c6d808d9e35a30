"""RecBole's Dataset with a download that fails in one line, and copies on other edges."""

import os
import shutil
from pathlib import Path

import torch
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.data.interaction import Interaction

from recbole_unlearn.errors import UsageError, unknown


class Dataset(RecBoleDataset):
    """RecBole's Dataset.

    Cached ``*dataset.pth`` files are not read: they are compared by configuration, never by content, and could bring
    forgotten rows back.

    Raises:
        UsageError: the files are neither there nor to be had.
    """

    def _download(self):
        if not torch.distributed.is_initialized():
            # RecBole ends its download with a barrier, which fails without a process group (issues 1989, 2050).
            barrier, torch.distributed.barrier = torch.distributed.barrier, lambda *_: None
        else:
            barrier = torch.distributed.barrier
        try:
            super()._download()
        except BaseException as error:
            # The folder was not there before; half of it would pass for the dataset in the next run.
            shutil.rmtree(self.dataset_path, ignore_errors=True)
            interrupted = isinstance(error.__context__, KeyboardInterrupt)  # RecBole makes it a RuntimeError
            if interrupted or not isinstance(error, Exception):
                raise KeyboardInterrupt from None
            raise UsageError(self._where_to_put_it(f"is not there and could not be downloaded ({error})")) from None
        finally:
            torch.distributed.barrier = barrier

    def _get_download_url(self, url_file, allow_none=False):
        url = super()._get_download_url(url_file, allow_none=True)
        if url is None and not allow_none:
            folder = Path(self.dataset_path).parent
            here = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
            raise ValueError(str(unknown("dataset", self.dataset_name, {"ml-100k", "ml-1m", "gowalla", *here})))
        return url

    def _load_inter_feat(self, token, dataset_path):
        names = [token] if self.benchmark_filename_list is None else [f"{token}.{n}" for n in self.benchmark_filename_list]
        for name in names:
            if not os.path.isfile(os.path.join(dataset_path, f"{name}.inter")):
                raise UsageError(self._where_to_put_it(f"has no file {name}.inter in {dataset_path}"))
        super()._load_inter_feat(token, dataset_path)

    def _where_to_put_it(self, problem):
        file = os.path.join(self.dataset_path, f"{self.dataset_name}.inter")
        fields = f"{self.uid_field}:token<TAB>{self.iid_field}:token"
        return (
            f"Dataset '{self.dataset_name}' {problem}. Put its interactions into {file} "
            f"(first line {fields}, then one interaction a line), or name the folder above it with --data_path=FOLDER."
        )


def with_edges(dataset, keep):
    """A copy of a built dataset with the interactions where ``keep`` (boolean, one a row) holds; ids stay."""
    kept = Interaction({field: dataset.inter_feat[field][keep] for field in dataset.inter_feat})
    return dataset.copy(kept)


def with_edges_of(dataset, graph):
    """A copy of a built dataset with the interactions that are edges of a graph; ids stay."""
    feat = dataset.inter_feat
    return with_edges(dataset, graph.contains(feat[dataset.uid_field], feat[dataset.iid_field]))


def with_nodes(dataset, users, items):
    """A copy of a built dataset that knows these users and items only, with the interactions between them.

    Args:
        users, items (torch.LongTensor): ids, without the padding; they become 1, 2, ... in this order.
    """
    feat, keep = dataset.inter_feat, torch.ones(len(dataset.inter_feat), dtype=torch.bool)
    columns = {field: feat[field] for field in feat}
    copied = dataset.copy(feat)
    copied.field2id_token, copied.field2token_id = dict(dataset.field2id_token), dict(dataset.field2token_id)
    for field, source, nodes in ((dataset.uid_field, "user_feat", users), (dataset.iid_field, "item_feat", items)):
        nodes = torch.cat([nodes.new_zeros(1), nodes])
        new_id = torch.full((dataset.num(field),), -1)
        new_id[nodes] = torch.arange(len(nodes))
        columns[field] = new_id[columns[field]]
        keep &= columns[field] >= 0
        tokens = dataset.field2id_token[field][nodes.numpy()]
        copied.field2id_token[field] = tokens
        copied.field2token_id[field] = {token: id_ for id_, token in enumerate(tokens)}
        features = getattr(dataset, source)  # a row an id
        if features is not None:
            rows = {name: features[name][nodes] for name in features}
            setattr(copied, source, Interaction({**rows, field: torch.arange(len(nodes))}))
    copied.inter_feat = Interaction({field: column[keep] for field, column in columns.items()})
    return copied


def with_extra_edges(dataset, users, items):
    """A copy of a built dataset with interactions added; fields other than the ids are 0 there."""
    extra = {dataset.uid_field: users, dataset.iid_field: items}
    columns = {}
    for field in dataset.inter_feat:
        column = dataset.inter_feat[field]
        added = extra.get(field, column.new_zeros((len(users), *column.shape[1:])))
        columns[field] = torch.cat([column, added])
    return dataset.copy(Interaction(columns))
