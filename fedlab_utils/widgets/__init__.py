"""Live labs: sliders that train again, with progress and Cancel."""

from fedlab_utils.widgets.controls import NotAtHand as NotAtHand
from fedlab_utils.widgets.controls import choice as choice
from fedlab_utils.widgets.controls import data_choice as data_choice
from fedlab_utils.widgets.controls import slider as slider
from fedlab_utils.widgets.controls import switch as switch
from fedlab_utils.widgets.live import LABS as LABS
from fedlab_utils.widgets.live import Lab as Lab
from fedlab_utils.widgets.live import Stopped as Stopped
from fedlab_utils.widgets.live import lab as lab
