"""K small networks of one shape, trained side by side on different rows.

Hospitals in federated learning, random seeds of an experiment and shadow models of an attack are the same
thing to this room: *models* that share a shape, not their weights. Every tensor of parameters carries the
model as its first axis, ``[K, out, in]``, and one training step of all models is one batched matrix product
a layer. The rows of all models live in one shared table; each model has its own row numbers, so nothing is
copied for a hospital, a seed or a shadow model.
"""

from fedlab_utils.fleet.batches import normal as normal
from fedlab_utils.fleet.batches import poisson as poisson
from fedlab_utils.fleet.batches import shuffled as shuffled
from fedlab_utils.fleet.losses import LOSSES as LOSSES
from fedlab_utils.fleet.losses import Loss as Loss
from fedlab_utils.fleet.losses import per_row as per_row
from fedlab_utils.fleet.losses import probabilities as probabilities
from fedlab_utils.fleet.losses import slopes as slopes
from fedlab_utils.fleet.networks import Params as Params
from fedlab_utils.fleet.networks import forward as forward
from fedlab_utils.fleet.networks import from_arrays as from_arrays
from fedlab_utils.fleet.networks import init as init
from fedlab_utils.fleet.networks import one_thread as one_thread
from fedlab_utils.fleet.networks import to_arrays as to_arrays
from fedlab_utils.fleet.randomness import generator as generator
from fedlab_utils.fleet.randomness import generators as generators
from fedlab_utils.fleet.training import Optimiser as Optimiser
from fedlab_utils.fleet.training import fit as fit
from fedlab_utils.fleet.training import gradients as gradients
