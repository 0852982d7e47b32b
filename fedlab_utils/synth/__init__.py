"""Synthetic tables: learn from real patients, invent others."""

from fedlab_utils.synth.federated import fit_federated as fit_federated
from fedlab_utils.synth.synthesizer import Synthesizer as Synthesizer
from fedlab_utils.synth.synthesizer import fit as fit
from fedlab_utils.synth.synthesizer import load as load
