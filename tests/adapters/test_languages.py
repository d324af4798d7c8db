"""Code that is named in another language than English."""

from __future__ import annotations

import pytest

from bncheck.adapters.words import Kind, gradient_name, kind, output_like, stem, upstream_named, words

LAYER = """
class {name}:
    def __init__(self, n, eps=1e-5):
        self.gama, self.beta, self.eps, self.{gradients} = np.ones(n), np.zeros(n), eps, {{}}
    def {forward}(self, {x}, {train}=True):
        self.desv = np.sqrt({x}.var(axis=0) + self.eps); self.c = ({x} - {x}.mean(axis=0)) / self.desv
        return self.gama * self.c + self.beta
    def {backward}(self, d_{y}):
        self.{gradients}["gama"] = (d_{y} * self.c).sum(axis=0); self.{gradients}["beta"] = d_{y}.sum(axis=0)
        d = d_{y} * self.gama
        return (d - d.mean(axis=0) - self.c * (d * self.c).mean(axis=0)) / self.desv
"""
LANGUAGES = {
    "Spanish": ("NormalizacionPorLotes", "adelante", "atras", "entrada", "salida", "gradientes", "entrenando"),
    "Spanish, accents": ("NormalizaciónPorLotes", "adelante", "atrás", "entrada", "salida", "gradientes", "entrenando"),
    "Portuguese": ("NormalizacaoEmLote", "propagar", "retropropagar", "entrada", "saida", "gradientes", "treino"),
    "French": ("NormalisationParLots", "avant", "arrière", "entrée", "sortie", "gradients", "entrainement"),
    "Italian": ("NormalizzazionePerLotti", "avanti", "indietro", "ingresso", "uscita", "gradienti", "addestra"),
    "German": ("Chargennormalisierung", "vorwärts", "rückwärts", "eingabe", "ausgabe", "gradienten", "training"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_layer_in_another_language(write, right, language):
    name, forward, backward, x, y, gradients, train = LANGUAGES[language]
    source = LAYER.format(name=name, forward=forward, backward=backward, x=x, y=y, gradients=gradients, train=train)
    returns = right(write(source)).returns
    assert returns == f"dx and attributes {gradients}['gama'], {gradients}['beta']"


def test_a_wrong_one_stays_wrong(write, only, agrees):
    name, forward, backward, x, y, gradients, train = LANGUAGES["Spanish"]
    source = LAYER.format(name=name, forward=forward, backward=backward, x=x, y=y, gradients=gradients, train=train)
    with pytest.raises(AssertionError, match="dx"):
        agrees(only(write(source.replace("d - d.mean(axis=0)", "d"))), 2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_its_names_say_what_they_are(language):
    name, forward, backward, x, y, _gradients, _ = LANGUAGES[language]
    assert kind(name) is Kind.BN
    assert (stem(forward).direction, stem(backward).direction) == ("forward", "backward")
    assert (gradient_name(f"d_{x}").of, output_like(y), upstream_named(f"d_{y}")) == ("dx", True, True)


@pytest.mark.parametrize("name", ["normalize_plot", "normalizar_pilotes", "normalize_lottery", "normalizar_por_capa"])
def test_what_only_sounds_alike_is_no_batch_norm(name):
    assert kind(name) is Kind.UNKNOWN


def test_accents_are_no_ends_of_words():
    assert words("dérivée_μ̂") == ("derivee", "mu")
    assert words("dγ") == ("d", "gamma")
