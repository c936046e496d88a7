# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import bounds as bounds
from . import contract as contract
from . import folders as folders
from . import found as found
from . import graph as graph
from . import hdf5 as hdf5
from . import keras_applications as keras_applications
from . import names as names
from . import native as native
from . import peers as peers
from . import published as published
from . import rebuild as rebuild
from . import reference as reference
from . import state_dicts as state_dicts
from . import tensors as tensors
from . import trusted as trusted
from .contract import Contract as Contract
from .contract import contract_of as contract_of
from .contract import save as save
from .found import Found as Found
from .found import adapt as adapt
from .found import find as find
from .native import UnknownNetwork as UnknownNetwork
from .native import load as load
from .peers import save_safetensors as save_safetensors
from .published import sha256 as sha256
