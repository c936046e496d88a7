"""What a contract says comes back from its text; what older versions do not know is left out where it says nothing."""

import json

import pytest

from keras_resnet.weights import Contract


def test_thresholds_come_back():
    contract = Contract(class_names=("cat",), thresholds={"score": 0.25, "overlap": 0.5})
    assert Contract.loads(contract.dumps()) == contract
    assert "thresholds" not in json.loads(Contract().dumps())
    assert Contract.loads(Contract().dumps()).thresholds == {}


@pytest.mark.parametrize("wrong", [[0.5], {"score": "0.5"}, {"score": None}, {"score": True}])
def test_wrong_thresholds(wrong):
    with pytest.raises(ValueError, match="its thresholds is"):
        Contract.loads(json.dumps({"thresholds": wrong}))
