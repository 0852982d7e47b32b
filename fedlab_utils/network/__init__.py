"""Several machines: one hospital's part and the coordinator's part of a training, whatever carries the messages.

`agreement` is what all hold before anything starts, `messages` what travels, byte by byte. `hospital` answers and
refuses; what it did and spent stands in its `book`, which its `purse` reads, and `work` is what it does with a model.
`coordinator` asks and adds up. `masked` is a round in which it sees the sum alone. `carriers` says what a carrier is.

`certificates` says who is who, `carrier` and `dial` are the two ends of a carrier over HTTPS, `command` is what one
types, and `here` starts all of it on this machine.
"""

from typing import TYPE_CHECKING

from fedlab_utils._late import late

if TYPE_CHECKING:
    from fedlab_utils.network.agreement import Agreement as Agreement
    from fedlab_utils.network.agreement import Network as Network
    from fedlab_utils.network.carrier import Listener as Listener
    from fedlab_utils.network.carriers import Carrier as Carrier
    from fedlab_utils.network.carriers import InProcess as InProcess
    from fedlab_utils.network.columns import Columns as Columns
    from fedlab_utils.network.columns import prepared as prepared
    from fedlab_utils.network.coordinator import Coordinator as Coordinator
    from fedlab_utils.network.coordinator import NetworkRun as NetworkRun
    from fedlab_utils.network.coordinator import RoundRecord as RoundRecord
    from fedlab_utils.network.dial import SentAway as SentAway
    from fedlab_utils.network.dial import serve as serve
    from fedlab_utils.network.here import Machines as Machines
    from fedlab_utils.network.here import on_this_machine as on_this_machine
    from fedlab_utils.network.hospital import HospitalPart as HospitalPart
    from fedlab_utils.network.messages import Refused as Refused

__getattr__, __dir__ = late(__name__, __file__)
