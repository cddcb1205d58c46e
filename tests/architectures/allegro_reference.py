"""What nequip-allegro itself gives for made-up weights and systems; run where it is installed.

.venv-peers/nequip/bin/python -m tests.architectures.allegro_reference > tests/architectures/allegro_reference.json
"""

from tests.architectures.allegro_equality import ALLEGRO
from tests.architectures.upstream_reference import main

if __name__ == "__main__":
    main(ALLEGRO)
