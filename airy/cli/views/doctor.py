"""What `airy doctor` found."""

from airy.app.doctor.report import DoctorRow
from airy.cli.view import Field, View

FIELDS = (
    Field("CHECK", "check"),
    Field("STATE", "state", styles={"problem": "red", "warning": "yellow"}),
    Field("FOUND", "text"),
    Field("NEXT STEP", "step"),
)
DOCTOR = View(name="doctor", row=DoctorRow, fields=FIELDS, what="checks")
