"""Makes montage-2000.json anew: `pip install wfcommons==1.6`, then `python make_montage.py`.

The generator of WfCommons draws the workflow from what real runs of Montage (mosaics of the sky)
took: https://wfcommons.org. It names files by random UUIDs, so two runs of it differ in those.
"""

import json
import random
import tempfile
from pathlib import Path

import numpy
from wfcommons import WorkflowGenerator
from wfcommons.wfchef.recipes import MontageRecipe

random.seed(7)
numpy.random.seed(7)
with tempfile.TemporaryDirectory() as folder:
    written = Path(folder) / "montage.json"
    WorkflowGenerator(MontageRecipe.from_num_tasks(2000)).build_workflow().write_json(written)
    instance = json.loads(written.read_text())
del instance["author"], instance["createdAt"]  # who ran the generator, and when
Path(__file__).with_name("montage-2000.json").write_text(json.dumps(instance, separators=(",", ":")) + "\n")
