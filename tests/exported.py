"""What is exported of the networks in ``export_networks.py``."""

from __future__ import annotations

from pathlib import Path

import torch

from tests import export_networks
from tests.export_networks import NETWORKS, OUTPUTS
from trainables.analysis.export import Origin, Subject
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.nests import map_nest
from trainables.data.preprocessing import Preprocessing

SOURCE = Path(export_networks.__file__)


def subject_of(name: str) -> Subject:
    factory, arguments, draw = NETWORKS[name]
    torch.manual_seed(3)
    network, samples = factory(**arguments).eval(), draw()
    shape = map_nest(lambda x: tuple(x.shape[1:]), samples)
    info = DataInfo(shape, Task.CLASSIFICATION, OUTPUTS, Kind.OTHER)
    origin = Origin(f"{SOURCE.stem}:{factory.__name__}", arguments, code={SOURCE.stem: SOURCE})
    return Subject(network, Preprocessing(), info, samples, samples, origin)
