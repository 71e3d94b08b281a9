"""Restoring recordings of any length, exactly as the network would restore them whole."""

from apollo.restoration.compiling import pays_to_compile
from apollo.restoration.engine import Restorer, choose_device
from apollo.restoration.jobs import Forecast, Outcome, foresee, restore_files
from apollo.restoration.one_call import restore
from apollo.restoration.output import Output
from apollo.restoration.provenance import Settings
from apollo.restoration.recordings import Report, default_target, restore_file, restore_pipe
from apollo.restoration.stream import RestorationStream
from apollo.restoration.tasks import Task, plan

__all__ = [
    "Forecast",
    "Outcome",
    "Output",
    "Report",
    "RestorationStream",
    "Restorer",
    "Settings",
    "Task",
    "choose_device",
    "default_target",
    "foresee",
    "pays_to_compile",
    "plan",
    "restore",
    "restore_file",
    "restore_files",
    "restore_pipe",
]
