"""RecBole's Dataset, with its own reader of files and errors of one line."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_unlearn.data.atomic import READ_AS_MISSING, read_columns, read_header
from recbole_unlearn.data.grouping import GroupingDataset
from recbole_unlearn.data.interactions import Interactions
from recbole_unlearn.data.settings import NO_INTERVAL, OFF_WITH_BENCHMARK_FILES
from recbole_unlearn.errors import UsageError, unknown


class Dataset(GroupingDataset):
    """RecBole's Dataset, with files read by :mod:`recbole_unlearn.data.atomic`.

    A token is the text in its cell: a user may be called ``NA``. The dataset drops and counts rows without a user or an
    item, with ``benchmark_filename`` too. Interactions keep the source's numbers (:class:`Interactions`).

    Cached ``*dataset.pth`` files are never read: RecBole compares them by configuration, not by content, so that they
    could bring forgotten rows back.

    Args:
        config: settings.
        as_recbole: whether ids such as ``NA`` are blank and times are rounded before rows are ordered, as in RecBole
            and in earlier releases. The data of a model that was trained that way need this.

    Raises:
        UsageError: the files are missing and cannot be downloaded, or they have an error.
    """

    def __init__(self, config: Config, as_recbole: bool = False):
        self.as_recbole = as_recbole
        super().__init__(config)

    def _download(self):
        if not torch.distributed.is_initialized():
            # RecBole ends its download with a barrier, which fails without a process group (issues 1989, 2050).
            barrier, torch.distributed.barrier = torch.distributed.barrier, lambda *_: None
        else:
            barrier = torch.distributed.barrier
        try:
            super()._download()
        except BaseException as error:
            # The folder is new; the next run would take a half download for the dataset.
            shutil.rmtree(self.dataset_path, ignore_errors=True)
            interrupted = isinstance(error.__context__, KeyboardInterrupt)  # RecBole turns it into a RuntimeError
            if interrupted or not isinstance(error, Exception):
                raise KeyboardInterrupt from None
            raise UsageError(self._where_to_put_it(f"does not exist and could not be downloaded ({error})")) from None
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
        names = (
            [token] if self.benchmark_filename_list is None else [f"{token}.{n}" for n in self.benchmark_filename_list]
        )
        for name in names:
            if not os.path.isfile(os.path.join(dataset_path, f"{name}.inter")):
                if self.benchmark_filename_list is not None:
                    raise UsageError(f"`benchmark_filename` names {name}.inter, which is not in {dataset_path}.")
                raise UsageError(self._where_to_put_it(f"has no file {name}.inter in {dataset_path}"))
        if self.benchmark_filename_list is not None:
            self._say_what_is_off()
        self._tables: list[pd.DataFrame] = []  # the numbers of each file
        self._columns = None
        super()._load_inter_feat(token, dataset_path)
        self._numbers = pd.concat(self._tables, ignore_index=True)
        del self._tables
        if len(self.inter_feat) == 0:
            files = ", ".join(f"{name}.inter" for name in names)
            raise UsageError(f"Dataset '{self.dataset_name}' has no interactions in {files}.")

    def _say_what_is_off(self):
        off = [key for key in OFF_WITH_BENCHMARK_FILES if self.config[key] not in (None, NO_INTERVAL)]
        if off:
            self.logger.warning(f"With `benchmark_filename`, RecBole takes the files as they are: no {', '.join(off)}.")

    def _load_feat(self, filepath, source):
        load_col, unload_col = self._get_load_and_unload_col(source)
        is_inter = source == FeatureSource.INTERACTION
        if load_col == set() and not is_inter:
            return None
        separator, encoding = self.config["field_separator"], self.config["encoding"]
        header = read_header(filepath, separator, encoding)
        fields = [
            field for field in header if (load_col is None or field in load_col) and field not in (unload_col or ())
        ]
        self._check_columns(filepath, source, header, fields)
        if not fields:
            self.logger.warning(f"No columns has been loaded from [{source}]")
            return None
        table = read_columns(filepath, separator, encoding, header, fields)
        table = self._without_blank_ids(table, filepath, source)
        if is_inter:
            self._tables.append(table[[field for field in fields if header[field] == FeatureType.FLOAT]])
        return self._as_recbole_has_it(table, header, filepath, source)

    def _check_columns(self, filepath, source, header, fields):
        """Refuse a file without its ids, or settings that name missing columns."""
        suffix = getattr(source, "value", source)
        for key in ("load_col", "unload_col"):
            given = (self.config[key], self.config.internal_config_dict.get(key))
            named, by_default = ((columns or {}).get(suffix) or () for columns in given)
            for field in named:
                if named != "*" and field not in header and field not in by_default:  # RecBole's defaults may name more
                    raise unknown(f"column in `{key}` of {filepath}", field, header)
        ids = {"inter": {"USER_ID_FIELD": self.uid_field, "ITEM_ID_FIELD": self.iid_field}}
        ids |= {"user": {"USER_ID_FIELD": self.uid_field}, "item": {"ITEM_ID_FIELD": self.iid_field}}
        for key, field in ids.get(suffix, {}).items():
            if field not in header:
                there = ", ".join(header)
                raise UsageError(
                    f"'{filepath}' has no column '{field}'; it has {there}. Name the ids' with --{key}=NAME."
                )
            if header[field] != FeatureType.TOKEN:
                kind = header[field].value
                raise UsageError(f"'{filepath}' gives column '{field}' the type {kind}; ids are of type token.")
            if field not in fields:
                raise UsageError(f"`load_col` or `unload_col` leave out column '{field}' of '{filepath}', the ids.")
            if field in ((self.config["unused_col"] or {}).get(suffix) or ()):
                raise UsageError(f"`unused_col` leaves out column '{field}' of '{filepath}', the ids.")
        if suffix == "inter" and self.benchmark_filename_list is not None:
            columns = {field: header[field] for field in fields}
            self._columns = self._columns or columns
            if columns != self._columns:
                raise UsageError(f"'{filepath}' has other columns than the first of `benchmark_filename`.")

    def _without_blank_ids(self, table, filepath, source):
        ids = {FeatureSource.INTERACTION: (self.uid_field, self.iid_field), FeatureSource.USER: (self.uid_field,)}
        ids[FeatureSource.ITEM] = (self.iid_field,)
        blank = np.zeros(len(table), dtype=bool)
        for field in ids.get(source, ()):
            missing = table[field].isin(READ_AS_MISSING) if self.as_recbole else table[field].str.strip() == ""
            blank |= missing.to_numpy(dtype=bool)
        if not blank.any():
            return table
        fields = " or ".join(ids[source])
        self.logger.warning(f"{blank.sum()} of {len(table)} rows of {filepath} have no {fields} and are left out.")
        return table[~blank].reset_index(drop=True)

    def _as_recbole_has_it(self, table, header, filepath, source):
        """A table with float64 numbers, NaN for no text, and arrays for sequences; fills RecBole's dicts of fields."""
        columns = {}
        for field in table:
            kind, column = header[field], table[field]
            if source != "link":
                self.field2source[field], self.field2type[field] = source, kind
                if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                    self.field2bucketnum[field] = 2
            if kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):
                columns[field] = self._sequences(column, field, kind, filepath)
                continue
            if source != "link":
                self.field2seqlen[field] = 1
            if kind == FeatureType.FLOAT:
                columns[field] = column.astype(np.float64)
                blank, becomes = column.isna().sum(), "their mean"
            else:
                empty = column == ""
                blank, becomes = empty.sum(), "RecBole's [PAD]"
                columns[field] = column.mask(empty, np.nan) if blank else column
            if blank:
                share = f"{blank} of {len(table)} cells of '{field}' in {filepath}"
                self.logger.warning(f"{share} are blank and become {becomes}.")
        return pd.DataFrame(columns)

    def _sequences(self, column, field, kind, filepath):
        """Each cell's parts as an array, at most ``seq_len`` of them."""
        separator, dtype = self.config["seq_separator"], str if kind == FeatureType.TOKEN_SEQ else np.float64
        try:
            sequences = [np.array(list(filter(None, cell.split(separator))), dtype=dtype) for cell in column]
        except ValueError as error:
            raise UsageError(f"'{filepath}' has text in '{field}', whose type is float_seq: {error}.") from None
        longest = max(map(len, sequences), default=0)
        limit = min((self.config["seq_len"] or {}).get(field, longest), longest)
        self.field2seqlen[field] = limit
        return pd.Series([sequence[:limit] for sequence in sequences], dtype=object)

    def build(self) -> list:
        """Order and split the interactions; see RecBole's Dataset.

        Raises:
            UsageError: the order is by time, and there are no times.
        """
        if (
            self.benchmark_filename_list is None
            and self._is_by_time()
            and self.field2type.get(self.time_field) != FeatureType.FLOAT
        ):
            fields = [field for field in self.inter_feat if self.field2type[field] == FeatureType.FLOAT]
            raise UsageError(
                f"Dataset '{self.dataset_name}' has no column '{self.time_field}' of type float to order by, which "
                f"order: TO of `eval_args` needs. Numbers that are loaded: {', '.join(fields) or 'none'}; see "
                "`load_col`. Name the column of times with --TIME_FIELD=NAME, or use order: RO if the model reads no "
                "times."
            )
        return super().build()

    def _is_by_time(self):
        return self.config["eval_args"]["order"] == "TO"

    def _filter_by_field_value(self):
        for field in self.config["val_interval"] or {}:
            if field not in self.field2type:
                loaded = ", ".join(self.field2type)
                raise UsageError(
                    f"Setting 'val_interval' names '{field}', which is not loaded; loaded are {loaded}. See "
                    f"`load_col`, e.g. --load_col=\"{{'inter': ['{self.uid_field}', '{self.iid_field}', '{field}']}}\"."
                )
        super()._filter_by_field_value()

    def _remove_duplication(self):
        keep = self.config["rm_dup_inter"]
        if keep is None or self.as_recbole or not self._is_by_time() or self.time_field not in self._numbers:
            return super()._remove_duplication()
        # RecBole sorts by time here too, but leaves equal times in any order.
        times = self._numbers[self.time_field].loc[self.inter_feat.index].to_numpy()
        in_time = self.inter_feat.iloc[np.argsort(times, kind="stable")]
        self.inter_feat = in_time.drop_duplicates([self.uid_field, self.iid_field], keep=keep).sort_index()

    def sort(self, by: str | list[str], ascending: bool | list[bool] = True) -> None:
        """Sort the interactions in place; see :meth:`Interactions.sort`."""
        if self.as_recbole:
            Interaction.sort(self.inter_feat, by, ascending)
        else:
            self.inter_feat.sort(by, ascending)

    def _reset_index(self):
        self._numbers = self._numbers.loc[self.inter_feat.index]
        super()._reset_index()

    def _change_feat_format(self):
        super()._change_feat_format()
        source = {}
        for field in self._numbers:
            if field in self.inter_feat:
                source[field] = torch.tensor(self._numbers[field].to_numpy())
        self.inter_feat = Interactions(self.inter_feat.interaction, source)
        del self._numbers

    def _where_to_put_it(self, problem):
        file = os.path.join(self.dataset_path, f"{self.dataset_name}.inter")
        fields = f"{self.uid_field}:token<TAB>{self.iid_field}:token"
        return (
            f"Dataset '{self.dataset_name}' {problem}. Put its interactions into {file} "
            f"(first line {fields}, then one interaction a line), or name the folder above it with --data_path=FOLDER."
        )
