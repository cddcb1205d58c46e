"""What a training run is made from: a frozen tree of settings; a YAML file only fills it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from shoal.architectures import ARCHITECTURES, ArchitectureConfig

DEFAULT_ARCHITECTURE = "nequip"

Paths = Annotated[tuple[str, ...], BeforeValidator(lambda value: _as_tuple(value))]
Seconds = Annotated[float, BeforeValidator(lambda value: _seconds(value)), Field(gt=0)]


class Section(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fractions(Section):
    """Shares of the structures in `data.path`; what is left over when they sum to less than 1 is not used."""

    train: float = Field(default=0.8, gt=0, le=1)
    val: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _at_most_everything(self) -> Fractions:
        if self.train + self.val + self.test > 1 + 1e-9:
            raise ValueError(f"train + val + test must not exceed 1, they are {self.train + self.val + self.test:g}")
        return self


class KeysConfig(Section):
    """Names of the labels, in the calculator, in `info` or in `arrays` (`shoal.io.LabelKeys`)."""

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"


class DataConfig(Section):
    """Structures with labels: either one `path` to be split by `fractions` and `seed`, or `train`, `val` (and `test`).

    Paths may be lists and patterns such as `runs/*.xyz`; they are relative to the current folder.
    """

    path: Paths | None = None
    fractions: Fractions = Fractions()
    seed: int = Field(default=0, ge=0, description="of the split of `path`")
    train: Paths | None = None
    val: Paths | None = None
    test: Paths | None = None
    batch_size: int = Field(default=4, ge=1, description="most structures in a batch")
    max_edges: int | None = Field(
        default=None, ge=1, description="most edges in a batch; one larger structure is a batch"
    )
    keys: KeysConfig = KeysConfig()

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if self.path is not None and any((self.train, self.val, self.test)):
            raise ValueError("give either path (split by fractions) or train and val (and test), not both")
        if self.path is None and not (self.train and self.val):
            raise ValueError("give path (split by fractions), or both train and val")
        return self


class ModelConfig(BaseModel):
    """The architecture's name beside its own settings; type names and mean neighbours are filled in by training."""

    model_config = ConfigDict(frozen=True, extra="allow")

    architecture: str = DEFAULT_ARCHITECTURE

    @field_validator("architecture")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {name!r}; there are {', '.join(ARCHITECTURES)}")
        return name

    @model_validator(mode="after")
    def _settings_fit(self) -> ModelConfig:
        """By the architecture's own rules; what needs the type names is checked where they are known."""
        if "type_names" in self.settings:
            raise ValueError("type_names belongs at the top of the configuration")
        self.build(("X",), _without_types(self.settings))
        return self

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @property
    def architecture_config(self) -> type[ArchitectureConfig]:
        return ARCHITECTURES[self.architecture].config

    def build(self, type_names: tuple[str, ...], replaced: Mapping[str, Any] | None = None) -> ArchitectureConfig:
        """The architecture's configuration; mean neighbours are 1 where neither settings nor `replaced` give them."""
        values = {"mean_neighbors": 1.0, **self.settings, **(replaced or {}), "type_names": type_names}
        return self.architecture_config.model_validate(values)


class LossWeights(Section):
    """Weights of mean squared errors: energy per atom (eV^2), forces (eV^2/A^2), stress (eV^2/A^6)."""

    energy: float = Field(default=1.0, ge=0)
    forces: float = Field(default=1.0, ge=0)
    stress: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _something_to_learn(self) -> LossWeights:
        if not self.energy + self.forces + self.stress > 0:
            raise ValueError("at least one weight must be positive")
        return self


class ScheduleConfig(Section):
    """Learning rate over the epochs: held, lowered when the validation loss stays, or half a cosine over the run."""

    name: Literal["plateau", "cosine", "none"] = "plateau"
    over: Literal["epochs", "time"] = Field(default="epochs", description="cosine: it spans max_epochs, or max_time")
    factor: float = Field(default=0.5, gt=0, lt=1, description="plateau: factor of each lowering")
    patience: int = Field(default=25, ge=0, description="plateau: epochs without improvement before it is lowered")
    min_learning_rate: float = Field(1e-6, ge=0, description="plateau and cosine: where it ends")


class TrainingConfig(Section):
    """The optimisation."""

    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_epochs: int = Field(default=1000, ge=1)
    max_time: Seconds | None = Field(default=None, description='of this run, "HH:MM:SS" or seconds')
    loss: LossWeights = LossWeights()
    ema_decay: float = Field(default=0.99, ge=0, lt=1, description="of the averaged weights; 0 switches averaging off")
    gradient_clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    schedule: ScheduleConfig = ScheduleConfig()
    early_stopping_patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without a better validation loss"
    )
    seed: int = Field(default=0, ge=0, description="of the order of the batches")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool | Literal["auto"] = Field(
        default="auto", description="compile the training step; auto: on a CPU, in long runs"
    )
    convolution: Literal["auto", "reference", "native"] = Field(
        default="auto", description="how sums over neighbours are computed; auto: native in long runs on a CPU"
    )
    radial_table: int | None = Field(
        default=None, ge=8, description="train with radial weights from splines of so many pieces (nequip)"
    )
    progress: bool = Field(default=True, description="show progress on the terminal")
    logs: tuple[Literal["csv", "tensorboard"], ...] = ("csv", "tensorboard")

    @field_validator("schedule", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _time_to_span(self) -> TrainingConfig:
        if self.schedule.over == "time" and (self.schedule.name != "cosine" or self.max_time is None):
            raise ValueError("schedule.over=time needs schedule.name=cosine and max_time")
        return self


class TrainConfig(Section):
    """Everything a run is made from.

    `reference_energies`: eV per type name, `least_squares` (fitted to the training data) or `none`.
    `resume`: a checkpoint to go on from; `overwrite`: whether `output` may already hold a training.
    """

    output: str = Field(min_length=1)
    type_names: tuple[str, ...] = Field(min_length=1)
    chemical_species_to_atom_type_map: dict[str, str] | Literal[True] | None = None
    reference_energies: Literal["least_squares", "none"] | dict[str, float] = "least_squares"
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    resume: str | None = None
    overwrite: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainConfig:
        self.model.build(self.type_names)
        if self.training.radial_table is not None and self.model.architecture != "nequip":
            raise ValueError("training.radial_table is for the architecture nequip")
        if isinstance(self.reference_energies, dict) and set(self.reference_energies) != set(self.type_names):
            raise ValueError(
                f"reference_energies are given for {', '.join(self.reference_energies) or 'no type'}; "
                f"the types are {', '.join(self.type_names)}"
            )
        return self


def _without_types(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stand-ins for those settings that name types, so that the others can be checked with the one type "X"."""
    replaced: dict[str, Any] = {}
    if isinstance(settings.get("mean_neighbors"), dict | list | tuple):
        replaced["mean_neighbors"] = 1.0
    if "per_edge_type_cutoff" in settings:
        replaced["per_edge_type_cutoff"] = None
    if settings.get("zbl"):
        given = settings["zbl"]
        replaced["zbl"] = {**(given if isinstance(given, dict) else {}), "species": {"X": "H"}}
    return replaced


def _as_tuple(value: Any) -> Any:
    return (str(value),) if isinstance(value, str | Path) else value


def _seconds(value: Any) -> Any:
    if not isinstance(value, str) or ":" not in value:
        return value
    try:
        hours, minutes, seconds = map(int, value.split(":"))
    except ValueError:
        raise ValueError(f'expected "HH:MM:SS" or seconds, got {value!r}') from None
    return 3600 * hours + 60 * minutes + seconds
