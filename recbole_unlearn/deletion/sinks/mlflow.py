"""A model version in MLflow."""

import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recbole_unlearn.deletion.sinks.base import SINKS, Sink, none_of
from recbole_unlearn.deletion.sinks.content import Content
from recbole_unlearn.deletion.store.files import digest_of
from recbole_unlearn.errors import UsageError

SQLITE = "sqlite:///"
NAMED, TAG, EXPERIMENT = "model_version.json", "recbole_unlearn.store", "recbole-unlearn"


@SINKS.register
class MLflow(Sink):
    """A version of a registered model in MLflow, whose run has the model's file; the store's earlier ones are deleted.

    ``model_version.json`` in the sink's folder names the registered model, its version and the run. MLflow keeps the
    artifacts of a deleted run until somebody collects its garbage; this sink deletes them at once. Versions and runs
    that this store has not made are left alone. User name and password belong into MLflow's own environment variables.
    """

    def needs(self) -> Mapping[str, str]:
        return {"mlflow": "mlflow"}

    def check_ready(self) -> None:
        super().check_ready()
        uri = self.config["unlearn_mlflow_uri"] or ""
        if "@" in urlsplit(uri).netloc:  # a version's settings keep it
            raise UsageError(
                "Setting 'unlearn_mlflow_uri' has a user name or password: leave it out, and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment."
            )
        if uri.startswith("sqlite:") and importlib.util.find_spec("sqlalchemy") is None:
            raise UsageError(f"MLflow needs sqlalchemy for '{uri}': pip install 'recbole-unlearn[mlflow]'.")

    def write(self, content: Content, folder: str) -> None:
        from mlflow.exceptions import MlflowException

        client, name, store = self._client(), self._name(), content.keyed_hash("store")
        experiment = client.get_experiment_by_name(EXPERIMENT)
        place = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
        tags = {TAG: store, "recbole_unlearn.version": str(content.number)}
        run = client.create_run(place, tags=tags, run_name=f"{name} version {content.number}")
        run_id = run.info.run_id
        try:
            client.log_artifact(run_id, content.model_path)
            client.set_terminated(run_id)
            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = client.create_model_version(name, run.info.artifact_uri, run_id, tags=tags)
        except BaseException:
            self._delete_run(client, run)
            raise
        named = {"name": name, "version": str(made.version), "run_id": run_id}
        Path(folder, NAMED).write_text(json.dumps(named, indent=2), encoding="utf-8")
        for version in self._versions(client, store):
            if str(version.version) != str(made.version):
                client.delete_model_version(name, version.version)
        for other in self._runs(client, store):
            if other.info.run_id != run_id:
                self._delete_run(client, other)

    def verify(self, content: Content, folder: str) -> list[dict[str, Any]]:
        uri = self.config["unlearn_mlflow_uri"] or ""
        if uri.startswith(SQLITE) and not os.path.exists(uri.removeprefix(SQLITE)):  # else MLflow would make it
            raise UsageError(f"'{uri}' does not exist.")
        client, store = self._client(), content.keyed_hash("store")
        named = json.loads(Path(folder, NAMED).read_text(encoding="utf-8"))
        versions = self._versions(client, store)
        others = sum(str(version.version) != named["version"] for version in versions)
        with tempfile.TemporaryDirectory() as copy:
            file = client.download_artifacts(named["run_id"], os.path.basename(content.model_path), copy)
            differs = digest_of(file) != digest_of(content.model_path)
        kept = [run for run in self._runs(client, store) if run.info.run_id != named["run_id"]]
        artifacts = sum(len(self._repository(run).list_artifacts()) for run in kept)
        return [
            none_of("model files that are not the version's", int(differs) + (len(versions) - others != 1)),
            none_of("earlier model versions of this store", others),
            none_of("artifacts of earlier runs of this store", artifacts),
        ]

    def _name(self):
        return self.config["unlearn_mlflow_model"] or f"{self.config['model']}-{self.config['dataset']}"

    def _client(self):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a deletion is nobody else's business
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient

        return MlflowClient(self.config["unlearn_mlflow_uri"], self.config["unlearn_mlflow_uri"])

    def _versions(self, client, store):
        """The versions of the registered model that this store has made."""
        found = client.search_model_versions(f"name = '{self._name()}'", max_results=10_000)
        return [version for version in found if version.tags.get(TAG) == store]

    def _runs(self, client, store):
        """The runs that this store has made, deleted ones too."""
        from mlflow.entities import ViewType

        experiment = client.get_experiment_by_name(EXPERIMENT)
        places, of_store = [experiment.experiment_id], f"tags.`{TAG}` = '{store}'"
        found, token = [], None
        while True:
            page = client.search_runs(places, of_store, run_view_type=ViewType.ALL, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _repository(self, run):
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(run.info.artifact_uri, tracking_uri=self.config["unlearn_mlflow_uri"])

    def _delete_run(self, client, run):
        """Delete a run and its artifacts, which MLflow itself keeps."""
        self._repository(run).delete_artifacts()
        if client.get_run(run.info.run_id).info.lifecycle_stage != "deleted":
            client.delete_run(run.info.run_id)
