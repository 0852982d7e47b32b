"""A hospital's FHIR R4 export becomes the course's table; and small simulated exports with the traps of real ones."""

from fedlab_utils.data.fhir.simulated import INDEX as INDEX
from fedlab_utils.data.fhir.simulated import SIZES as SIZES
from fedlab_utils.data.fhir.simulated import UNTIL as UNTIL
from fedlab_utils.data.fhir.simulated import write_simulated as write_simulated
from fedlab_utils.data.fhir.table import FhirTable as FhirTable
from fedlab_utils.data.fhir.table import as_frame as as_frame
from fedlab_utils.data.fhir.table import from_fhir as from_fhir
from fedlab_utils.data.fhir.table import read as read
from fedlab_utils.data.fhir.table import tabulate as tabulate
