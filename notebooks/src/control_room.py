# %% [markdown]
# # Control room
#
# *What can hospitals learn together, what does it tell about a patient, and what does protection cost?* A whole
# system on one page: choose a document's system or set your own. Whatever you move is really run, on the machine
# that holds this page, and everything that you look at counts in the ledger.

# %% jupyter={"source_hidden": true}
from fedlab_utils.system.control_room import ControlRoom

ControlRoom()
