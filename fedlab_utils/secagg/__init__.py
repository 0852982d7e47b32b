"""Secure aggregation: the server learns the sum of the hospitals' updates, and none of the updates."""

from typing import TYPE_CHECKING

from fedlab_utils._late import late

if TYPE_CHECKING:
    from fedlab_utils.secagg.in_process import Outcome as Outcome
    from fedlab_utils.secagg.in_process import Parcel as Parcel
    from fedlab_utils.secagg.in_process import run as run
    from fedlab_utils.secagg.in_process import traffic as traffic
    from fedlab_utils.secagg.masks import agree as agree
    from fedlab_utils.secagg.masks import expand as expand
    from fedlab_utils.secagg.messages import SERVER as SERVER
    from fedlab_utils.secagg.messages import Message as Message
    from fedlab_utils.secagg.messages import ProtocolError as ProtocolError
    from fedlab_utils.secagg.messages import Setup as Setup
    from fedlab_utils.secagg.messages import TooFewError as TooFewError
    from fedlab_utils.secagg.messages import default_threshold as default_threshold
    from fedlab_utils.secagg.messages import fingerprint as fingerprint
    from fedlab_utils.secagg.messages import register as register
    from fedlab_utils.secagg.messages import survivor_list as survivor_list
    from fedlab_utils.secagg.private import PrivateSum as PrivateSum
    from fedlab_utils.secagg.private import PrivateTotal as PrivateTotal
    from fedlab_utils.secagg.private import private_sum as private_sum
    from fedlab_utils.secagg.protocol import Client as Client
    from fedlab_utils.secagg.server import Server as Server
    from fedlab_utils.secagg.sums import SecureSum as SecureSum

__getattr__, __dir__ = late(__name__, __file__)
