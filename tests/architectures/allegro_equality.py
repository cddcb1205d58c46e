"""How far our Allegro is from that of nequip-allegro over the whole matrix of settings.

.venv-peers/nequip/bin/python -m tests.architectures.allegro_equality [--write benchmarks/results/equality_allegro.md]

prints JSON; 10 minutes. With --write also the table.
"""

from tests.architectures.allegro_cases import COMMITTED, EVERY_KIND, MATRIX, build, made_up, ours
from tests.architectures.upstream_equality import Family, main

from shoal.architectures import AllegroConfig
from shoal.integrations.nequip.allegro_weights import to_ours

ALLEGRO = Family(
    "Allegro",
    ("nequip-allegro", "nequip", "e3nn", "torch"),
    AllegroConfig,
    build,
    made_up,
    ours,
    to_ours,
    MATRIX,
    EVERY_KIND,
    COMMITTED,
    "tests.architectures.allegro_equality --write benchmarks/results/equality_allegro.md",
)

if __name__ == "__main__":
    main(ALLEGRO)
