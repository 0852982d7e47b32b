"""Differential privacy: what is promised to whom, what it costs, and the ledger of what was spent."""

from fedlab_utils.privacy.accounting import epsilon as epsilon
from fedlab_utils.privacy.accounting import noise_for as noise_for
from fedlab_utils.privacy.ledger import FOLLOWS as FOLLOWS
from fedlab_utils.privacy.ledger import HOSPITAL as HOSPITAL
from fedlab_utils.privacy.ledger import NOT_PRIVATE as NOT_PRIVATE
from fedlab_utils.privacy.ledger import PATIENT as PATIENT
from fedlab_utils.privacy.ledger import PRESENT_OR_BLANK as PRESENT_OR_BLANK
from fedlab_utils.privacy.ledger import Entry as Entry
from fedlab_utils.privacy.ledger import Ledger as Ledger
from fedlab_utils.privacy.ledger import Mechanism as Mechanism
from fedlab_utils.privacy.promises import HospitalDP as HospitalDP
from fedlab_utils.privacy.promises import RecordDP as RecordDP
