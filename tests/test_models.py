"""Models by name."""

from __future__ import annotations

import numpy as np
import pytest

from infbench.data import DATA, load_data, load_training_data
from infbench.errors import UnknownNameError
from infbench.models import MODELS, make_model


@pytest.mark.parametrize("name", MODELS)
def test_fitting_again_gives_the_same_answers(name):
    X = load_data(n_samples=300)
    first, second = (make_model(name).predict(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (300,)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "dummy"])
@pytest.mark.parametrize("data", DATA)
def test_models_learn_their_data_without_a_warning(name, data):
    X, y = load_training_data(data)
    commonest = np.bincount(y).max() / len(y)
    assert make_model(name, data=data).score(X, y) > commonest + 0.05


def test_unknown_name_lists_the_names():
    with pytest.raises(UnknownNameError, match="unknown model 'forest', allowed: random_forest, extra_trees"):
        make_model("forest")
