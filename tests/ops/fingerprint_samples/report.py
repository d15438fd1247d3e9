"""Print the fingerprints of the samples under the Python that runs this, as JSON."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from samples import classes, helpers, syntax, values, wrapping

from invariant_dask.ops.fingerprint import fingerprint, fingerprint_class

FUNCTIONS = {
    "helpers.clip": helpers.clip,
    "helpers.lookup": helpers.lookup,
    "syntax.everything": syntax.everything,
    "syntax.waiting": syntax.waiting,
    "classes.shade": classes.shade,
    "classes.CHILD.run": classes.CHILD.run,
    "wrapping.shade": wrapping.shade,
    "wrapping.odd": wrapping.odd,
    "wrapping.even": wrapping.even,
    "wrapping.partial": wrapping.partial,
    "wrapping.anonymous": wrapping.anonymous,
    "values.shade": values.shade,
}
CLASSES = {
    f"classes.{cls.__name__}": cls
    for cls in (
        classes.Kind, classes.Flags, classes.Base, classes.Child, classes.Tone, classes.Point,
        classes.Pair, classes.Shape, classes.Sized,
    )
}  # fmt: skip

found = {
    name: {"digest": (taken := fingerprint(function, name=name)).digest, "parts": taken.parts}
    for name, function in FUNCTIONS.items()
}
found |= {name: {"digest": fingerprint_class(cls)} for name, cls in CLASSES.items()}
print(json.dumps(found, indent=1))  # noqa: T201
