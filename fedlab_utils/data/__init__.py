"""From a table to hospitals that are ready to train: sources, cleaning, splits, and what hospitals agree on."""

from fedlab_utils.data.cards import card as card
from fedlab_utils.data.cleaning import add_age as add_age
from fedlab_utils.data.cleaning import clean_hospital_network as clean_hospital_network
from fedlab_utils.data.cleaning import drop_duplicate_records as drop_duplicate_records
from fedlab_utils.data.cleaning import group_rare as group_rare
from fedlab_utils.data.cleaning import harmonise_units as harmonise_units
from fedlab_utils.data.cleaning import remove_identifiers as remove_identifiers
from fedlab_utils.data.cleaning import tidy_categories as tidy_categories
from fedlab_utils.data.cleaning import zeros_to_missing as zeros_to_missing
from fedlab_utils.data.fhir import from_fhir as from_fhir
from fedlab_utils.data.hospitals import Federation as Federation
from fedlab_utils.data.hospitals import Hospital as Hospital
from fedlab_utils.data.loading import from_frame as from_frame
from fedlab_utils.data.loading import load as load
from fedlab_utils.data.loading import replicates as replicates
from fedlab_utils.data.schema import Schema as Schema
from fedlab_utils.data.sources import load_raw as load_raw
from fedlab_utils.data.sources import names as names
