"""The documents' systems as settings of one pipeline, and the report that says what they promise."""

from typing import TYPE_CHECKING

from fedlab_utils._late import late

if TYPE_CHECKING:
    from fedlab_utils.system.outcome import Outcome as Outcome
    from fedlab_utils.system.pipeline import run as run
    from fedlab_utils.system.pipeline import stages as stages
    from fedlab_utils.system.presets import PRESETS as PRESETS
    from fedlab_utils.system.settings import Checks as Checks
    from fedlab_utils.system.settings import Data as Data
    from fedlab_utils.system.settings import Promise as Promise
    from fedlab_utils.system.settings import Settings as Settings
    from fedlab_utils.system.settings import Sum as Sum
    from fedlab_utils.system.settings import Synthetic as Synthetic
    from fedlab_utils.system.settings import Training as Training

__getattr__, __dir__ = late(__name__, __file__)
