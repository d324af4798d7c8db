"""Words of code that is named in Spanish, Portuguese, French, Italian or German; without accents, as they are read."""

from __future__ import annotations

import re

FORWARD = frozenset("adelante avance avante frente propagar avant avanti vorwaerts vorwarts".split())
BACKWARD = frozenset(
    "atras reversa retropropagar retropropagacion retropropagacao retropropagation retropropager arriere tras "
    "indietro retropropagazione retropropaga rueckwaerts ruckwarts".split()
)
X = frozenset("entrada entradas entree entrees ingresso eingabe eingang".split())
Y = frozenset("salida salidas saida saidas sortie sorties uscita ausgabe ausgang".split())
GRADIENTS = frozenset("gradiente gradientes gradienti gradienten derivada derivadas derivee derivees".split())
_BATCH_NORM = re.compile(
    r"normali[sz][a-z]*_(?:(?:por|em|en|de|par|du|per|di)_)?(?:mini_?)?lot(?:es?|s|ti|to)?(?=_|$)"
    r"|(?:chargen|stapel)_?normali[sz]"
)


def says_batch_norm(joined: str) -> bool:
    """Tell whether words, joined by "_", say batch normalization in one of these languages."""
    return bool(_BATCH_NORM.search(joined))
