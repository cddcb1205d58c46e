"""`train`: from a configuration to a trained model on disk."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shoal.allocator import kept_memory
from shoal.architectures import build
from shoal.atomic import write_atomically
from shoal.errors import ConfigError, DataError, ShoalWarning
from shoal.figures import learning_curve, parity, save
from shoal.files import read_checkpoint
from shoal.state import TypeMap
from shoal.training.batches import Batches
from shoal.training.checkpoints import BEST, LAST, check_same_training
from shoal.training.config import TrainConfig
from shoal.training.lightning import contained, fit
from shoal.training.load_config import load_config
from shoal.training.logs import Logs
from shoal.training.losses import Loss
from shoal.training.predict import evaluate
from shoal.training.progress import Report, reporting
from shoal.training.samples import QUANTITIES, DataSet, Sample, fingerprint, read_data
from shoal.training.session import Session
from shoal.training.statistics import gather_statistics

N_REFERENCE = 4


@dataclass(frozen=True)
class TrainResult:
    """A finished or stopped training.

    `best` and `last`: checkpoints; `metrics`: errors of the best averaged weights on "val" and "test", MAE and RMSE of
    energy (meV/atom), forces (meV/A) and stress (meV/A^3); `history`: one row an epoch; `stopped_by`: max_epochs,
    max_time, early_stopping or signal; `plots`: PNG files by name.
    """

    output: Path
    best: Path | None
    last: Path
    metrics: dict[str, dict[str, float]]
    history: list[dict[str, float]]
    stopped_by: str
    plots: dict[str, Path]


def train(
    config: TrainConfig | Mapping[str, Any] | str | Path,
    overrides: Iterable[str] = (),
    resume: str | Path | bool | None = None,
    progress: bool | Report = True,
) -> TrainResult:
    """Train a model as a configuration says and leave checkpoints, logs and plots in its `output` folder.

    `config`: a YAML file, a mapping or a TrainConfig; `overrides`: `key.path=value`. `resume`: a checkpoint to go on
    from (True: `last.ckpt` of the output), which gives the same numbers as a run that was never stopped. `progress`:
    a live display, or a function that is called with a TrainingProgress after each batch. Raises ConfigError,
    DataError and ModelFileError.
    """
    settings = load_config(config, overrides)
    output = Path(settings.output)
    start = _start_from(settings, output, resume)
    with contained():
        session, data = _prepare(settings, start)
        device = _device(settings)
        output.mkdir(parents=True, exist_ok=True)
        if start is not None:
            _bring_best(start, output, session)
        _write_config(settings, output)
        stopped_by = _fit(session, output, device, progress if settings.training.progress else False)
        return _conclude(session, data, output, stopped_by)


def _start_from(config: TrainConfig, output: Path, resume: str | Path | bool | None) -> Path | None:
    chosen = output / LAST if resume is True else resume or config.resume
    if chosen:
        return Path(chosen)
    if (output / LAST).exists() and not config.overwrite:
        raise ConfigError(
            f"output {output} already holds a training: --resume (resume=True) goes on with it, overwrite=true "
            "replaces it, another output leaves it alone"
        )
    return None


def _prepare(config: TrainConfig, start: Path | None) -> tuple[Session, DataSet]:
    raw = read_checkpoint(start).raw if start is not None else None
    if raw is not None:
        check_same_training(config, raw, str(start))
    type_map = _type_map(config)
    cutoff = config.model.build(config.type_names).model_dump()["cutoff"]
    data = read_data(config.data, type_map, cutoff)
    _check_labels(config, data)
    bounds = config.data.batch_size, config.data.max_edges
    batches = Batches(data.train, *bounds, seed=config.training.seed)
    data_hash = fingerprint([*data.train, *data.val])
    if raw is None:
        facts = _facts(config, type_map, data, data_hash)
    else:
        facts = {key: raw[key] for key in raw if key not in ("weights", "averaged_weights", "training")}
        facts["config"] = config.model_dump(mode="json")
        _check_same_conditions(raw, data_hash, str(start))
    statistics = facts["statistics"]
    model = build(facts["architecture"], facts["model_config"])
    model.set_scales_shifts(list(statistics["energy_scales"].values()), list(statistics["energy_shifts"].values()))
    n_batches = len(batches.plan())
    per_batch = {name: count / n_batches for name, count in _label_counts(data.train).items()}
    loss = Loss(config.training.loss, per_batch)
    return Session(config, model, loss, batches, Batches(data.val, *bounds), facts, raw), data


def _type_map(config: TrainConfig) -> TypeMap:
    """Without a map, types named like elements are those elements."""
    given = config.chemical_species_to_atom_type_map
    if given is None:
        from ase.data import chemical_symbols

        given = {name: name for name in config.type_names if name in chemical_symbols}
    try:
        return TypeMap.from_argument(config.type_names, given)
    except ValueError as error:
        raise ConfigError(f"chemical_species_to_atom_type_map: {error}") from None


def _label_counts(samples: Sequence[Sample]) -> dict[str, int]:
    """Labelled numbers: energies, force components, stress components."""
    sizes = torch.tensor([[1, 3 * sample.n_atoms, 9] for sample in samples])
    labelled = torch.stack([sample.labelled for sample in samples])
    return dict(zip(QUANTITIES, (sizes * labelled).sum(0).tolist(), strict=True))


def _check_labels(config: TrainConfig, data: DataSet) -> None:
    for part in ("train", "val"):
        for quantity, count in _label_counts(getattr(data, part)).items():
            weight = getattr(config.training.loss, quantity)
            if weight > 0 and count == 0:
                raise DataError(
                    f"training.loss.{quantity} is {weight:g}, but no structure in the {part} data has "
                    f"{getattr(config.data.keys, quantity)!r} labels: name them by data.keys.{quantity}, or set "
                    f"training.loss.{quantity}=0"
                )


def _facts(config: TrainConfig, type_map: TypeMap, data: DataSet, data_hash: str) -> dict[str, Any]:
    """What every checkpoint of this training has in common."""
    cutoffs = config.model.build(config.type_names).cutoffs_by_types
    statistics = gather_statistics(data.train, config.type_names, config.reference_energies, cutoffs)
    found = {} if "mean_neighbors" in config.model.settings else {"mean_neighbors": statistics.mean_neighbors}
    model_config = config.model.build(config.type_names, found)
    given = config.data.model_dump(mode="json", include={"path", "train", "val", "test"}, exclude_none=True)
    sizes = {f"n_{part}": len(getattr(data, part)) for part in ("train", "val", "test")}
    return {
        "architecture": config.model.architecture,
        "model_config": model_config.model_dump(mode="json"),
        "type_names": list(config.type_names),
        "chemical_species_to_atom_type_map": dict(type_map.species),
        "statistics": statistics.as_dict(),
        "provenance": {"data": {**given, **sizes, "sha256": data_hash}},
        "reference_structures": [_reference(sample) for sample in [*data.val, *data.train][:N_REFERENCE]],
        "config": config.model_dump(mode="json"),
    }


def _reference(sample: Sample) -> dict[str, torch.Tensor]:
    names = ("positions", "cell", "pbc", "atomic_numbers", "atom_types")
    return {name: getattr(sample, name).clone() for name in names}


def _check_same_conditions(raw: Mapping[str, Any], data_hash: str, path: str) -> None:
    if raw["provenance"]["data"]["sha256"] != data_hash:
        raise DataError(f"{path} cannot be resumed on other data than it was trained on")
    then = raw["provenance"]["torch_version"], raw["training"]["threads"]
    now = str(torch.__version__), torch.get_num_threads()
    if then != now:
        warnings.warn(
            f"{path} was written with torch {then[0]} on {then[1]} threads, this is torch {now[0]} on {now[1]}: "
            "the resumed run goes on from it, but not bit for bit like the uninterrupted one",
            ShoalWarning,
            stacklevel=4,
        )


def _device(config: TrainConfig) -> str:
    chosen = config.training.device
    if chosen == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device is cuda, but torch sees no CUDA device here; use auto or cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if chosen == "auto" else chosen


def _bring_best(start: Path, output: Path, session: Session) -> None:
    """The best checkpoint of the run so far stands beside the one it resumes from."""
    beside = start.with_name(BEST)
    if beside.exists() and beside.resolve() != (output / BEST).resolve():
        shutil.copyfile(beside, output / BEST)


def _write_config(config: TrainConfig, output: Path) -> None:
    import yaml

    write_atomically(output / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def _fit(session: Session, output: Path, device: str, progress: bool | Report) -> str:
    from shoal.training.module import TrainingModule

    session.take_form(torch.device(device))
    if session.clock.epoch >= session.config.training.max_epochs:
        session.start()
        return "max_epochs"
    logs = Logs(output, session.config.training.logs, session.history)
    try:
        session.compile(torch.device(device))
        with kept_memory(), reporting(progress) as report:
            module = TrainingModule(session, output, report, logs)
            fit(module, device, session.config.training.gradient_clip)
    finally:
        logs.close()
    return module.stopped_by


def _conclude(session: Session, data: DataSet, output: Path, stopped_by: str) -> TrainResult:
    """Errors and plots of the best weights there are."""
    best = output / BEST if (output / BEST).exists() else None
    weights = read_checkpoint(best or output / LAST).weights
    bounds = session.config.data.batch_size, session.config.data.max_edges
    device = session.device
    weights = {name: value.to(device) for name, value in weights.items()}
    metrics, pairs = {}, {}
    for part in ("val", "test"):
        if samples := getattr(data, part):
            errors, pairs[part] = evaluate(session.predict, Batches(samples, *bounds), weights, device)
            metrics[part] = errors.metrics()
    write_atomically(output / "metrics.json", json.dumps(metrics, indent=1).encode())
    plots = _draw(session.history, pairs, output)
    return TrainResult(output, best, output / LAST, metrics, session.history, stopped_by, plots)


def _draw(history: list[dict[str, float]], pairs: Mapping[str, Any], output: Path) -> dict[str, Path]:
    try:
        figures = {f"parity_{part}": parity(arrays) for part, arrays in pairs.items()}
        if history:
            figures["learning_curve"] = learning_curve(history)
        return {name: save(figure, output / f"{name}.png") for name, figure in figures.items()}
    except ImportError:
        warnings.warn("no plots: they need matplotlib: pip install 'shoal[report]'", ShoalWarning, stacklevel=3)
        return {}
