"""The paper's figures to the letter, and the networks that are compared."""

from __future__ import annotations

import pytest

from roadseg.comparison.paper import TABLES, paper_figures, table_models
from roadseg.comparison.run import choose_models
from roadseg.core.errors import UsageError
from roadseg.models import COMPARISON_NAMES, MODEL_NAMES


def test_every_table_names_networks_that_exist() -> None:
    assert TABLES == (1, 3, 6)
    assert [len(table_models(table)) for table in TABLES] == [8, 5, 4]
    for table in TABLES:
        assert set(table_models(table)) <= {*MODEL_NAMES, *COMPARISON_NAMES}
    assert table_models(6) == ("segnet", "deeplab-largefov", "fcn-8s-learnt", "deconvnet")


ACCURACIES = """
bilinear-interpolation 77.9 61.1 43.3 20.83
segnet-basic 82.7 62.0 47.7 35.78
segnet-basic-encoder-addition 83.4 63.6 48.5 35.92
segnet-basic-single-channel-decoder 81.2 60.7 46.1 31.62
fcn-basic 81.7 62.4 47.3 38.11
fcn-basic-no-addition 80.5 58.6 44.1 31.96
fcn-basic-no-dim-reduction 84.1 63.4 50.1 37.37
fcn-basic-no-addition-no-dim-reduction 80.5 61.6 45.9 30.47
segnet 90.40 71.20 60.10 46.84
deeplab-largefov 88.20 62.53 53.88 32.77
fcn-8s 83.27 59.56 49.83 27.99
fcn-8s-learnt 83.14 64.21 51.96 33.18
deconvnet 89.58 70.24 59.77 52.23
"""
TABLE_1 = {
    "bilinear-interpolation": (0.625, 24.2),
    "segnet-basic": (1.425, 52.6),
    "segnet-basic-encoder-addition": (1.425, 53.0),
    "segnet-basic-single-channel-decoder": (0.625, 33.1),
    "fcn-basic": (0.65, 24.2),
    "fcn-basic-no-addition": (0.65, 23.8),
    "fcn-basic-no-dim-reduction": (1.625, 44.8),
    "fcn-basic-no-addition-no-dim-reduction": (1.625, 43.9),
}
TABLE_6 = {
    "segnet": (422.5, 488.7, 6803, 1052, 117),
    "deeplab-largefov": (110.1, 160.7, 5618, 1993, 83),
    # Its table says so: the FCN with learnt deconvolution.
    "fcn-8s-learnt": (317.1, 484.1, 9735, 1806, 539),
    "deconvnet": (474.7, 602.2, 9731, 1872, 877),
}


@pytest.mark.parametrize("line", ACCURACIES.split("\n")[1:-1])
def test_figures_of_the_paper(line: str) -> None:
    name, *accuracies = line.split()
    figures = paper_figures(name)
    assert figures is not None
    found = (figures.global_accuracy, figures.class_accuracy, figures.miou, figures.bf)
    assert found == tuple(float(value) for value in accuracies)
    costs = (figures.training_mb, figures.inference_mb, figures.model_mb)
    found_6 = (figures.forward_ms, figures.backward_ms, *costs)
    if name in TABLE_1:
        assert (figures.parameters_m, figures.forward_ms) == TABLE_1[name]
        assert (figures.tables, found_6[1:]) == ((1,), (None,) * 4)
    elif name in TABLE_6:
        assert (figures.tables, found_6, figures.parameters_m) == ((3, 6), TABLE_6[name], None)
    else:
        assert (figures.tables, found_6, figures.parameters_m) == ((3,), (None,) * 5, None)


def test_networks_that_the_paper_does_not_have() -> None:
    assert paper_figures("segnet-lite") is None
    assert paper_figures("unet") is None


def test_choosing_networks() -> None:
    assert choose_models(6, None) == table_models(6)
    assert choose_models(None, "unet, segnet-lite,unet") == ("unet", "segnet-lite")
    assert choose_models(6, "segnet,unet") == (*table_models(6), "unet")


@pytest.mark.parametrize("models", [None, "", " , "])
def test_nothing_to_compare(models: str | None) -> None:
    with pytest.raises(UsageError) as error:
        choose_models(None, models)
    assert str(error.value) == 'nothing to compare: use table=1|3|6, or models="a,b,c"'


def test_unknown_table_and_model() -> None:
    with pytest.raises(UsageError) as error:
        choose_models(2, None)
    assert str(error.value) == (
        'table 2 of the paper is not one to compare with: use table=1|3|6, or models="a,b,c"'
    )
    with pytest.raises(UsageError) as error:
        choose_models(1, "vnet")
    known = ", ".join(MODEL_NAMES + COMPARISON_NAMES)
    assert str(error.value) == f"unknown model 'vnet': models takes {known}"
